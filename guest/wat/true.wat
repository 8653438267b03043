;; Does nothing, successfully.
;;
;; Pins: the cost and the exit status (0) of a guest that calls nothing and imports nothing.

(module
  (memory (export "memory") 1)
  (func (export "_start")))

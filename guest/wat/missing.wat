;; Imports a function of a module that is not there.
;;
;; Pins: the guest does not start, and the message names `env` and `nope`.

(module
  (import "env" "nope" (func $nope))
  (memory (export "memory") 1)
  (func (export "_start")
    (call $nope)))

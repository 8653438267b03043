;; A library, not a command: it exports `add`, but no `_start`.
;;
;; Pins: the guest does not start, and the message says which export it lacks.

(module
  (memory (export "memory") 1)
  (func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1))))

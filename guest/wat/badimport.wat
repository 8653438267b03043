;; Imports a function that WASI preview1 does not have.
;;
;; Pins: the guest does not start, and the message names the function.

(module
  (import "wasi_snapshot_preview1" "fd_nope" (func $fd_nope (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $fd_nope (i32.const 0)))))

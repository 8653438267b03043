;; Leaves with status 42.
;;
;; Pins: proc_exit ends the guest on the spot; the trap behind it is never reached.

(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param $status i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (call $proc_exit (i32.const 42))
    (unreachable)))

;; Yields three times and ends with status 0, or with the errno that sched_yield gave.
;;
;; Pins: sched_yield lets others run and comes back.

(module
  (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param $status i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (call $check (call $sched_yield))
    (call $check (call $sched_yield))
    (call $check (call $sched_yield)))
  (func $check (param $errno i32)
    (if (local.get $errno)
      (then (call $proc_exit (local.get $errno))))))

;; Sleeps 1 ms in its start section, before `_start` is called.
;;
;; Pins: a start section is a part of the program like any other. The guest is parked in it,
;; and goes on.

(module
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param $in i32) (param $out i32) (param $count i32) (param $stored i32)
      (result i32)))
  (memory (export "memory") 1)

  ;; A subscription of 48 bytes at 0: userdata, tag 0 (clock), clock 1 (monotonic),
  ;; timeout 1,000,000 ns, precision, flags 0 (relative).
  (data (i32.const 0) "\07\00\00\00\00\00\00\00" "\00\00\00\00\00\00\00\00")
  (data (i32.const 16) "\01\00\00\00\00\00\00\00" "\40\42\0f\00\00\00\00\00")
  (data (i32.const 32) "\00\00\00\00\00\00\00\00" "\00\00\00\00\00\00\00\00")

  (start $sleep)
  (func $sleep
    (if (call $poll_oneoff (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 96))
      (then (unreachable))))
  (func (export "_start")))

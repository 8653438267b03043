;; Tail-calls fd_read from `_start`, so that the frame that called it is gone.
;;
;; Pins: a host call in the place of the root frame, which a parked guest can't come back
;; to. A tail call's results are its caller's, so this `_start` gives back fd_read's errno,
;; against the letter of WASI: the host must refuse it or run it, in clear words, and not
;; hang or panic. See tailcall.wat for the lawful kind.

(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param $fd i32) (param $iovs i32) (param $iovs_len i32) (param $nread i32)
      (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00" "\40\00\00\00") ;; an iovec: 64 bytes at 16
  (func (export "_start") (result i32)
    (return_call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))))

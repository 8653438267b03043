;; Copies up to 64 bytes of stdin to stdout through functions that tail-call the host.
;;
;; Pins: a guest that parks in a tail-called host function comes back to the caller's
;; caller. Ends with the errno of the call that failed, else 0.

(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param $fd i32) (param $iovs i32) (param $iovs_len i32) (param $nread i32)
      (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param $fd i32) (param $iovs i32) (param $iovs_len i32) (param $nwritten i32)
      (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param $status i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00" "\40\00\00\00") ;; an iovec: 64 bytes at 16

  (func (export "_start")
    (call $check (call $read))
    (i32.store (i32.const 4) (i32.load (i32.const 8))) ;; as many as were read
    (call $check (call $write)))
  (func $read (result i32)
    (return_call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
  (func $write (result i32)
    (return_call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
  (func $check (param $errno i32)
    (if (local.get $errno)
      (then (call $proc_exit (local.get $errno))))))

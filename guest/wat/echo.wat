;; Copies stdin to stdout until EOF. This is the filter `serve` has when it is given none.
;;
;; Pins: the ABI at its barest. One page of memory, no allocation; a short write is gone
;; on with; an errno becomes the exit status.

(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param $fd i32) (param $iovs i32) (param $iovs_len i32) (param $nread i32)
      (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param $fd i32) (param $iovs i32) (param $iovs_len i32) (param $nwritten i32)
      (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param $status i32)))

  (memory (export "memory") 1 1)

  ;; 0 and 4: an iovec (address, length). 8: the count a call gives back. 16: the bytes.
  (global $iovec i32 (i32.const 0))
  (global $count i32 (i32.const 8))
  (global $bytes i32 (i32.const 16))
  (global $room i32 (i32.const 65520)) ;; up to the end of the page

  (global $eio i32 (i32.const 29))

  (func (export "_start")
    (local $len i32)
    (loop $next
      (call $aim (global.get $bytes) (global.get $room))
      (call $check
        (call $fd_read (i32.const 0) (global.get $iovec) (i32.const 1) (global.get $count)))
      (local.set $len (i32.load (global.get $count)))
      (if (local.get $len)
        (then
          (call $write_all (local.get $len))
          (br $next)))))

  ;; Writes the first $len bytes, in as many calls as it takes.
  (func $write_all (param $len i32)
    (local $at i32)
    (local $wrote i32)
    (local.set $at (global.get $bytes))
    (loop $more
      (call $aim (local.get $at) (local.get $len))
      (call $check
        (call $fd_write (i32.const 1) (global.get $iovec) (i32.const 1) (global.get $count)))
      (local.set $wrote (i32.load (global.get $count)))
      (if (i32.eqz (local.get $wrote)) ;; no error, no progress: don't try for ever
        (then (call $proc_exit (global.get $eio))))
      (local.set $at (i32.add (local.get $at) (local.get $wrote)))
      (local.set $len (i32.sub (local.get $len) (local.get $wrote)))
      (br_if $more (local.get $len))))

  (func $aim (param $address i32) (param $len i32)
    (i32.store (global.get $iovec) (local.get $address))
    (i32.store offset=4 (global.get $iovec) (local.get $len)))

  (func $check (param $errno i32)
    (if (local.get $errno)
      (then (call $proc_exit (local.get $errno))))))

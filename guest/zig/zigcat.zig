//! Copies stdin to stdout in upper case, until EOF.
//!
//! Pins: a guest without libc. Zig's std calls WASI directly, with its own choice of
//! calls and of iovec counts.

const std = @import("std");
const Io = std.Io;

pub fn main(init: std.process.Init) !void {
    var in_buffer: [4096]u8 = undefined;
    var out_buffer: [4096]u8 = undefined;
    var stdin: Io.File.Reader = .initStreaming(.stdin(), init.io, &in_buffer);
    var stdout: Io.File.Writer = .initStreaming(.stdout(), init.io, &out_buffer);

    var chunk: [1024]u8 = undefined;
    while (true) {
        const count = try stdin.interface.readSliceShort(&chunk);
        if (count == 0) break;
        try stdout.interface.writeAll(std.ascii.upperString(&chunk, chunk[0..count]));
    }
    try stdout.interface.flush();
}

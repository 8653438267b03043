//! `zighttpget NAME HOST PATH`: asks the web server behind `/dev/NAME` for PATH in
//! HTTP/1.0; prints the status line and the body.
//!
//! Pins: a client without libc. There are no absolute paths then: a file is opened in a
//! preopened directory, here /dev.

const std = @import("std");
const Io = std.Io;

pub fn main(init: std.process.Init) !void {
    const args = try init.minimal.args.toSlice(init.arena.allocator());
    if (args.len != 4) return error.Usage;
    const dev = (init.preopens.get("/dev") orelse return error.NoDev).dir;
    const server = try dev.openFile(init.io, args[1], .{ .mode = .read_write });
    defer server.close(init.io);

    var out_buffer: [1024]u8 = undefined;
    var request: Io.File.Writer = .initStreaming(server, init.io, &out_buffer);
    try request.interface.print("GET {s} HTTP/1.0\r\nHost: {s}\r\n\r\n", .{ args[3], args[2] });
    try request.interface.flush();

    var in_buffer: [4096]u8 = undefined;
    var stdout_buffer: [4096]u8 = undefined;
    var reply: Io.File.Reader = .initStreaming(server, init.io, &in_buffer);
    var stdout: Io.File.Writer = .initStreaming(.stdout(), init.io, &stdout_buffer);
    var first = true;
    while (true) {
        const line = std.mem.trimEnd(u8, try reply.interface.takeDelimiterInclusive('\n'), "\r\n");
        if (line.len == 0) break;
        if (first) try stdout.interface.print("{s}\n", .{line});
        first = false;
    }
    _ = try reply.interface.streamRemaining(&stdout.interface);
    try stdout.interface.flush();
}

//! `zigacceptecho NAME COUNT`: a TCP server. Opens the accept name `/dev/NAME` (NAME is
//! as `accept/127.0.0.1:7000`) COUNT times, one client after the other, and sends each back
//! what it says until it has said all.
//!
//! Pins: a server without libc.

const std = @import("std");
const Io = std.Io;

pub fn main(init: std.process.Init) !void {
    const args = try init.minimal.args.toSlice(init.arena.allocator());
    if (args.len != 3) return error.Usage;
    const dev = (init.preopens.get("/dev") orelse return error.NoDev).dir;
    for (1..1 + try std.fmt.parseInt(usize, args[2], 10)) |number| {
        const client = try dev.openFile(init.io, args[1], .{ .mode = .read_write });
        defer client.close(init.io);
        var in_buffer: [4096]u8 = undefined;
        var out_buffer: [4096]u8 = undefined;
        var from: Io.File.Reader = .initStreaming(client, init.io, &in_buffer);
        var to: Io.File.Writer = .initStreaming(client, init.io, &out_buffer);
        var total: usize = 0;
        while (true) {
            // What has come is sent back before more is waited for.
            const said = from.interface.peekGreedy(1) catch |err| switch (err) {
                error.EndOfStream => break,
                else => return err,
            };
            try to.interface.writeAll(said);
            try to.interface.flush();
            total += said.len;
            from.interface.toss(said.len);
        }
        var line: [64]u8 = undefined;
        const text = try std.fmt.bufPrint(&line, "client {d}: {d} bytes\n", .{ number, total });
        try Io.File.stdout().writeStreamingAll(init.io, text);
    }
}

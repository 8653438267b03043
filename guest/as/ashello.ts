// Prints its arguments on one line; its exit status is how many there were.
//
// Pins: an AssemblyScript guest: `_start` is a module's top level, strings are UTF-16
// inside and UTF-8 at the border, and the exit status goes through proc_exit.

const args = process.argv.slice(1);
process.stdout.write(args.join(" ") + "\n");
process.exit(args.length);

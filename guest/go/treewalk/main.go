// Command treewalk builds a tree below a directory, uses it as hard as a program may,
// checks itself at every step, removes what it made and prints ok.
//
//	treewalk DIR [ENTRIES]
//
// It pins what Go's os package asks of a filesystem: times that read back, links of both
// kinds, renames, and above all a large directory (10000 entries unless told otherwise)
// read in batches while what was read is removed, where each entry must come exactly once.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

const batch = 100

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: treewalk DIR [ENTRIES]")
		os.Exit(2)
	}
	entries := 10000
	if len(os.Args) > 2 {
		n, err := strconv.Atoi(os.Args[2])
		if err != nil {
			fail("ENTRIES", err)
		}
		entries = n
	}

	base := filepath.Join(os.Args[1], "treewalk")
	step("make", os.Mkdir(base, 0o755))
	step("walk", walk(base))
	step("truncate", truncate(base))
	step("times", times(base))
	step("links", links(base))
	step("drain", drain(filepath.Join(base, "many"), entries))
	step("clean", os.RemoveAll(base))
	if _, err := os.Stat(base); !errors.Is(err, fs.ErrNotExist) {
		fail("clean", fmt.Errorf("%s is still there: %v", base, err))
	}
	fmt.Println("ok")
}

// walk makes a small tree, renames a branch of it, and expects WalkDir to tell the result
// in lexical order.
func walk(base string) error {
	for _, dir := range []string{"a/b/c", "z"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			return err
		}
	}
	for _, file := range []string{"a/one", "a/b/two", "z/three"} {
		if err := os.WriteFile(filepath.Join(base, file), []byte(file), 0o644); err != nil {
			return err
		}
	}
	if err := os.Rename(filepath.Join(base, "a/b"), filepath.Join(base, "z/moved")); err != nil {
		return err
	}

	var seen []string
	err := filepath.WalkDir(base, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(base, path)
		if entry.IsDir() {
			name += "/"
		}
		seen = append(seen, name)
		return err
	})
	want := []string{"./", "a/", "a/one", "z/", "z/moved/", "z/moved/c/", "z/moved/two", "z/three"}
	if err == nil && !slices.Equal(seen, want) {
		err = fmt.Errorf("walked %q, want %q", seen, want)
	}
	return err
}

func truncate(base string) error {
	path := filepath.Join(base, "a/one")
	for _, size := range []int64{2, 5} {
		if err := os.Truncate(path, size); err != nil {
			return err
		}
	}
	return holds(path, "a/\x00\x00\x00")
}

func times(base string) error {
	path := filepath.Join(base, "a/one")
	read := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	written := time.Date(2011, 12, 13, 14, 15, 16, 123456789, time.UTC)
	if err := os.Chtimes(path, read, written); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.ModTime().Equal(written) {
		return fmt.Errorf("mtime is %v, set to %v", info.ModTime().UTC(), written)
	}
	return nil
}

func links(base string) error {
	target := filepath.Join(base, "z/three")
	soft, hard := filepath.Join(base, "soft"), filepath.Join(base, "hard")
	if err := os.Symlink("z/three", soft); err != nil {
		return err
	}
	if text, err := os.Readlink(soft); err != nil || text != "z/three" {
		return fmt.Errorf("soft leads to %q: %v", text, err)
	}
	if info, err := os.Lstat(soft); err != nil || info.Mode().Type() != fs.ModeSymlink {
		return fmt.Errorf("soft is not a symlink: %v", err)
	}
	if err := os.Link(target, hard); err != nil {
		return err
	}
	if err := os.WriteFile(soft, []byte("changed"), 0o644); err != nil {
		return err
	}
	err := errors.Join(holds(hard, "changed"), os.Remove(target), holds(hard, "changed"))
	if err != nil {
		return err
	}
	if _, err := os.Stat(soft); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("soft dangles, yet stat says: %v", err)
	}
	return nil
}

// drain fills dir, then reads it in batches and removes each entry as it comes.
func drain(dir string, entries int) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for i := range entries {
		file, err := os.Create(filepath.Join(dir, fmt.Sprintf("entry-%06d", i)))
		if err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}

	open, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer open.Close()
	seen := make(map[string]bool, entries)
	for {
		found, err := open.ReadDir(batch)
		for _, entry := range found {
			if seen[entry.Name()] {
				return fmt.Errorf("%s came twice", entry.Name())
			}
			seen[entry.Name()] = true
			if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if len(seen) != entries {
		return fmt.Errorf("saw %d of %d entries", len(seen), entries)
	}
	left, err := os.ReadDir(dir)
	if err == nil && len(left) != 0 {
		err = fmt.Errorf("%d entries are left", len(left))
	}
	return err
}

func holds(path, want string) error {
	text, err := os.ReadFile(path)
	if err == nil && string(text) != want {
		err = fmt.Errorf("%s holds %q, want %q", path, text, want)
	}
	return err
}

func step(name string, err error) {
	if err != nil {
		fail(name, err)
	}
}

func fail(name string, err error) {
	fmt.Fprintf(os.Stderr, "treewalk: %s: %v\n", name, err)
	os.Exit(1)
}

// Command nihao asks for a name and greets it.
//
// It pins that a Go guest runs at all: Go has its own scheduler, polls rather than
// blocks, and recurses deeper than hand-written hosts tend to expect.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

func main() {
	fmt.Print("name> ")
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	name := strings.TrimSpace(line)
	if name == "" {
		fmt.Fprintln(os.Stderr, "nihao: no name:", err)
		os.Exit(1)
	}
	fmt.Printf("ni hao, %s!\n", name)
}

// Greets everybody its arguments name, and counts the lines of its standard input.
package main

import (
	"bufio"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "name somebody to greet")
		os.Exit(1)
	}
	for _, name := range os.Args[1:] {
		fmt.Printf("hello, %s\n", name)
	}
	lines := 0
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		lines++
	}
	fmt.Printf("%d lines\n", lines)
}

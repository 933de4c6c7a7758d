// Exits prints an error and exits.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "exits: cannot find my configuration")
	os.Exit(3)
}

// Exits has something to say, and goes.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "exits: cannot find my configuration")
	os.Exit(3)
}

// Prog stands for a stage in the toy world.
package main

import (
	"fmt"

	"toy/shop"
)

func main() { fmt.Println(text()) }

func text() string {
	if shop.Price(4) == 2 {
		return "cheap"
	}
	return "dear"
}

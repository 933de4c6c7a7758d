// Package shop is a room above calc.
package shop

import "toy/calc"

// Price is cheap.
func Price(n int) int { return calc.Half(n) }

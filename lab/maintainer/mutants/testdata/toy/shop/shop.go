// Package shop is a package of the toy world that imports calc.
package shop

import "toy/calc"

// Price returns the price of n.
func Price(n int) int { return calc.Half(n) }

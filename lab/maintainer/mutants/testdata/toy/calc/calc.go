// Package calc is a package of the toy world.
package calc

// Sum adds up 1 to n.
func Sum(n int) int {
	s := 0
	for i := 1; i <= n; i++ {
		s += i
	}
	return s
}

// Half is tested only by the package shop, which imports calc.
func Half(n int) int {
	return n / 2
}

// Cap returns a slice whose capacity no test checks.
func Cap() []int {
	return make([]int, 0, 8)
}

// Untested has no test.
func Untested(a, b int) bool { return a < b }

// Forever ends at once, unless a mutant drops its assignment.
func Forever() {
	for done := false; !done; {
		done = true
	}
}

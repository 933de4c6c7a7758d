// Package calc is a room of the toy world.
package calc

// Sum adds up 1 to n.
func Sum(n int) int {
	s := 0
	for i := 1; i <= n; i++ {
		s += i
	}
	return s
}

// Half is tested by the package above only.
func Half(n int) int {
	return n / 2
}

// Cap has a hint that nobody can see.
func Cap() []int {
	return make([]int, 0, 8)
}

// Untested has no test.
func Untested(a, b int) bool { return a < b }

// Forever ends, if it is left as it is.
func Forever() {
	for done := false; !done; {
		done = true
	}
}

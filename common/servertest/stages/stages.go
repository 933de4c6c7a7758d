// Package stages numbers the four stages: their folders, and sets of them.
package stages

// Dirs are the folders of the stages, by their number.
var Dirs = []string{"", "stage1-iterative", "stage2-threadpool", "stage3-dualstack", "stage4-epoll"}

// Set is a set of stages; the zero value is all of them.
type Set uint8

// In is the set of these stages.
func In(stages ...int) Set {
	var s Set
	for _, n := range stages {
		s |= 1 << n
	}
	return s
}

// Has says whether the set names stage n. A caller that takes the zero value for all stages tests for it first.
func (s Set) Has(n int) bool { return s&(1<<n) != 0 }

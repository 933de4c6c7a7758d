// Package stages has the folders of the four stages by their numbers, and sets of stages.
package stages

// Dirs has the folder of each stage by its number, 1 to 4.
var Dirs = []string{"", "stage1-iterative", "stage2-threadpool", "stage3-dualstack", "stage4-epoll"}

// A Set is a set of stages. Cases, trials and scenarios take the zero value for all stages.
type Set uint8

// In returns the set of the given stages.
func In(stages ...int) Set {
	var s Set
	for _, n := range stages {
		s |= 1 << n
	}
	return s
}

// Has reports whether stage n is in the set. It returns false for the zero value, so a caller that takes the
// zero value for all stages must test for it first.
func (s Set) Has(n int) bool { return s&(1<<n) != 0 }

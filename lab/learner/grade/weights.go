package grade

import (
	"bufio"
	_ "embed" // weights.txt
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
)

//go:embed weights.txt
var standardWeights string

// A weight is a line of weights.txt: a category of cases and its points.
type weight struct {
	points   float64
	category string
	patterns []string
}

// readWeights reads the named file, or the weights.txt of this package if name is empty.
func readWeights(name string) ([]weight, error) {
	if name == "" {
		return parseWeights("weights.txt", strings.NewReader(standardWeights))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading the weights: %w", err)
	}
	defer func() { _ = f.Close() }()
	return parseWeights(name, f)
}

// parseWeights splits each line at two or more spaces, so that the name of a category may have several words.
func parseWeights(name string, in io.Reader) ([]weight, error) {
	var all []weight
	scan := bufio.NewScanner(in)
	for n := 1; scan.Scan(); n++ {
		line := strings.TrimSpace(scan.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var f []string
		for part := range strings.SplitSeq(line, "  ") {
			if part = strings.TrimSpace(part); part != "" {
				f = append(f, part)
			}
		}
		if len(f) != 3 {
			return nil, fmt.Errorf("%s:%d: %q is not WEIGHT  CATEGORY  PATTERN…, with two spaces between the parts", name, n, line)
		}
		points, err := strconv.ParseFloat(f[0], 64)
		if err != nil || !(points >= 0 && points <= 1e6) { // rejects NaN too
			return nil, fmt.Errorf("%s:%d: %q is not a weight; a weight is a number from 0 to 1000000, such as 12 or 2.5", name, n, f[0])
		}
		w := weight{points: points, category: f[1], patterns: strings.Fields(f[2])}
		for _, p := range w.patterns {
			if _, err := path.Match(p, ""); err != nil {
				return nil, fmt.Errorf("%s:%d: the pattern %q: %w", name, n, p, err)
			}
		}
		all = append(all, w)
	}
	if len(all) == 0 && scan.Err() == nil {
		return nil, fmt.Errorf("%s: the file has no weights", name)
	}
	return all, scan.Err()
}

// categoryOf returns the index of the category whose matching pattern is the longest, or -1 if no pattern matches.
func categoryOf(all []weight, subject string) int {
	best, length := -1, -1
	for i, w := range all {
		for _, p := range w.patterns {
			if ok, _ := path.Match(p, subject); ok && len(p) > length {
				best, length = i, len(p)
			}
		}
	}
	return best
}

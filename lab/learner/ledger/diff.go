package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
)

// A Hunk is a run of changed lines of one file, as `diff -U0` has it, with two exceptions. A closing brace that is
// the same in both files does not separate two hunks. And each function or type that is new has a hunk of its own.
type Hunk struct {
	File  string
	Lines []string // each begins with '-', '+' or ' '; a ' ' line is the same in both files
	Old   int      // the first line in the old file, from 1; for an insertion, the line that follows it
	New   int      // the first line in the new file
	Decl  string   // the declarations that the hunk begins, or else the one around it
	Key   string   // a hash of the changed lines, so a hunk that moves keeps its key
}

// Diff returns the hunks that turn the old lines of a file into the new ones.
func Diff(file string, old, now []string) []Hunk {
	var hunks []Hunk
	i, j := 0, 0
	flush := func(toI, toJ int) {
		if i == toI && j == toJ {
			return
		}
		h := Hunk{File: file, Old: i + 1, New: j + 1}
		for ; i < toI; i++ {
			h.Lines = append(h.Lines, "-"+old[i])
		}
		for ; j < toJ; j++ {
			h.Lines = append(h.Lines, "+"+now[j])
		}
		hunks = append(hunks, h)
	}
	for _, m := range match(old, now) {
		flush(m[0], m[1])
		i, j = m[0]+1, m[1]+1
	}
	flush(len(old), len(now))
	hunks = split(join(hunks, now))
	for k := range hunks {
		h := &hunks[k]
		h.Decl = declarations(*h, now)
		h.Key = key(h.Lines)
	}
	return hunks
}

// join makes one hunk of two between which only lines without letters and digits stand, and no blank line.
func join(hunks []Hunk, now []string) []Hunk {
	var out []Hunk
	for _, h := range hunks {
		if len(out) > 0 {
			last := &out[len(out)-1]
			gap := now[last.New-1+last.count('-') : h.New-1]
			if !slices.ContainsFunc(gap, func(line string) bool { return line == "" || word.MatchString(line) }) {
				for _, line := range gap {
					last.Lines = append(last.Lines, " "+line)
				}
				last.Lines = append(last.Lines, h.Lines...)
				continue
			}
		}
		out = append(out, h)
	}
	return out
}

// split cuts added lines before each declaration of the top level that follows a blank line.
func split(hunks []Hunk) []Hunk {
	var out []Hunk
	for _, h := range hunks {
		for i := 1; i < len(h.Lines)-1; i++ {
			if h.Lines[i] != "+" || !topLevel.MatchString(h.Lines[i+1]) {
				continue
			}
			first, rest := h, h
			first.Lines, rest.Lines = h.Lines[:i+1:i+1], h.Lines[i+1:]
			rest.Old += first.count('+')
			rest.New += first.count('-')
			out = append(out, first)
			h, i = rest, 0
		}
		out = append(out, h)
	}
	return out
}

var topLevel = regexp.MustCompile(`^\+(//|func |type |const |var )`)

var word = regexp.MustCompile(`[A-Za-z0-9]`)

// count returns how many lines of the hunk are not marked with c.
func (h *Hunk) count(c byte) (n int) {
	for _, line := range h.Lines {
		if line[0] != c {
			n++
		}
	}
	return n
}

// side returns the hunk's lines in the file that does not have the lines marked with c.
func (h *Hunk) side(c byte) (lines []string) {
	for _, line := range h.Lines {
		if line[0] != c {
			lines = append(lines, line[1:])
		}
	}
	return lines
}

func key(lines []string) string {
	sum := sha256.New()
	for _, line := range lines {
		if line[0] != ' ' {
			sum.Write([]byte(line + "\n"))
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:4])
}

var declaration = regexp.MustCompile(`^(?:func (?:\([^)]*\) )?|type |var |const )([A-Za-z]\w*)|^(package|import|const)\b`)

// declarations names what the hunk declares anew, or else the declaration in which it stands in the new file.
func declarations(h Hunk, now []string) string {
	var names []string
	for _, line := range h.Lines {
		if m := declaration.FindStringSubmatch(line[1:]); m != nil && line[0] == '+' {
			names = append(names, m[1]+m[2])
		}
	}
	if len(names) > 0 {
		return strings.Join(names, ", ")
	}
	// A comment belongs to the declaration after it.
	at := h.New - 1 + len(h.side('-'))
	if slices.ContainsFunc(h.side('-'), func(s string) bool { return strings.HasPrefix(s, "//") }) {
		for ; at < len(now); at++ {
			if m := declaration.FindStringSubmatch(now[at]); m != nil {
				return m[1] + m[2]
			}
		}
	}
	for at = min(at, len(now)) - 1; at >= 0; at-- {
		if m := declaration.FindStringSubmatch(now[at]); m != nil {
			return m[1] + m[2]
		}
	}
	return "the file"
}

// match returns the pairs of positions of the lines that the two files have in common, in order. It first takes the
// lines that occur once in each file (patience diff), because a match of braces and blank lines explains nothing.
func match(a, b []string) [][2]int {
	var out [][2]int
	var walk func(a0, a1, b0, b1 int)
	walk = func(a0, a1, b0, b1 int) {
		for a0 < a1 && b0 < b1 && a[a0] == b[b0] {
			out = append(out, [2]int{a0, b0})
			a0, b0 = a0+1, b0+1
		}
		var tail [][2]int
		for a0 < a1 && b0 < b1 && a[a1-1] == b[b1-1] {
			a1, b1 = a1-1, b1-1
			tail = append(tail, [2]int{a1, b1})
		}
		anchors := unique(a, b, a0, a1, b0, b1)
		if len(anchors) == 0 {
			out = append(out, subsequence(a[a0:a1], b[b0:b1], a0, b0)...)
		}
		for _, m := range anchors {
			walk(a0, m[0], b0, m[1])
			out = append(out, m)
			a0, b0 = m[0]+1, m[1]+1
		}
		if len(anchors) > 0 {
			walk(a0, a1, b0, b1)
		}
		slices.Reverse(tail)
		out = append(out, tail...)
	}
	walk(0, len(a), 0, len(b))
	return out
}

// unique returns the longest increasing sequence of pairs of lines that occur once in each range.
func unique(a, b []string, a0, a1, b0, b1 int) [][2]int {
	type count struct{ inA, inB, atB int }
	counts := map[string]*count{}
	for _, line := range a[a0:a1] {
		if counts[line] == nil {
			counts[line] = &count{}
		}
		counts[line].inA++
	}
	for j := b0; j < b1; j++ {
		if c := counts[b[j]]; c != nil {
			c.inB++
			c.atB = j
		}
	}
	var pairs [][2]int
	for i := a0; i < a1; i++ {
		if c := counts[a[i]]; c.inA == 1 && c.inB == 1 && word.MatchString(a[i]) {
			pairs = append(pairs, [2]int{i, c.atB})
		}
	}
	return increasing(pairs)
}

// increasing returns the longest subsequence of pairs whose second positions increase.
func increasing(pairs [][2]int) [][2]int {
	length := make([]int, len(pairs))
	before := make([]int, len(pairs))
	best := -1
	for i := range pairs {
		length[i], before[i] = 1, -1
		for j := range i {
			if pairs[j][1] < pairs[i][1] && length[j] >= length[i] {
				length[i], before[i] = length[j]+1, j
			}
		}
		if best < 0 || length[i] > length[best] {
			best = i
		}
	}
	var out [][2]int
	for i := best; i >= 0; i = before[i] {
		out = append(out, pairs[i])
	}
	slices.Reverse(out)
	return out
}

// subsequence returns the longest common subsequence of a and b; a0 and b0 are added to the positions.
func subsequence(a, b []string, a0, b0 int) [][2]int {
	n := make([][]int, len(a)+1) // n[i][j]: the length for a[i:] and b[j:]
	for i := range n {
		n[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				n[i][j] = n[i+1][j+1] + 1
			} else {
				n[i][j] = max(n[i+1][j], n[i][j+1])
			}
		}
	}
	var out [][2]int
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			out = append(out, [2]int{a0 + i, b0 + j})
			i, j = i+1, j+1
		case n[i+1][j] >= n[i][j+1]:
			i++
		default:
			j++
		}
	}
	return out
}

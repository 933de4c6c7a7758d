package variants

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"fourways.example/common/servertest/process"
)

// A FilePatch is the part of a unified diff about one file.
type FilePatch struct {
	Path  string // from the root of the repository, with slashes
	New   bool   // the patch creates the file
	Hunks []Hunk
}

// A Hunk is a piece of a file, before and after.
type Hunk struct {
	Line  int      // the number of its first line, from 1, in the file that the patch was made for
	Lines []string // each begins with " ", "-" or "+"
}

// side returns the lines that do not begin with this byte, without their first byte: '+' selects the old text,
// '-' the new one.
func (h *Hunk) side(without byte) []string {
	var lines []string
	for _, l := range h.Lines {
		if l[0] != without {
			lines = append(lines, l[1:])
		}
	}
	return lines
}

// ErrStale is wrapped by every error that means that a patch no longer fits the sources: its lines are not there, or
// the patched sources do not compile.
var ErrStale = errors.New("the patch does not fit the sources")

// A StalePatch is the error for a patch whose lines are no longer in the file.
type StalePatch struct {
	ID   string // of the pitfall
	Path string
	Want []string // the lines
	many bool     // they are there more than once
}

// Is makes errors.Is(e, ErrStale) true.
func (e *StalePatch) Is(target error) bool { return target == ErrStale }

func (e *StalePatch) Error() string {
	how := "are no longer there"
	if e.many {
		how = "are in several places, and not in the old one"
	}
	return fmt.Sprintf("bug.patch of %s does not apply: in %s these lines %s:%s\n"+
		"To renew it: go run ./lab pitfall --renew %s. If that fails, write the bug into a copy of the file\n"+
		"and make the patch with diff -U2, as the package comment of common/servertest/pitfalls describes.",
		e.ID, e.Path, how, process.Indent(strings.Join(e.Want, "\n")), e.ID)
}

var hunkHead = regexp.MustCompile(`^@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@`)

// ParsePatch reads a unified diff.
func ParsePatch(text []byte) ([]FilePatch, error) {
	var files []FilePatch
	wasNew := false
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		var file *FilePatch
		if len(files) > 0 {
			file = &files[len(files)-1]
		}
		m := hunkHead.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "--- "):
			wasNew = strings.HasPrefix(line, "--- /dev/null")
		case strings.HasPrefix(line, "+++ "):
			name, _, _ := strings.Cut(line[4:], "\t")
			_, name, ok := strings.Cut(name, "/")
			if !ok {
				return nil, fmt.Errorf("patch, line %d: want +++ b/path", i+1)
			}
			files = append(files, FilePatch{Path: name, New: wasNew})
		case m != nil && file != nil:
			n, _ := strconv.Atoi(m[1])
			file.Hunks = append(file.Hunks, Hunk{Line: n})
		case file != nil && len(file.Hunks) > 0 && !strings.HasPrefix(line, "\\") && !strings.HasPrefix(line, "diff ") && !strings.HasPrefix(line, "index "):
			if line == "" {
				line = " " // an editor has removed the space at the end of the line
			}
			if !strings.ContainsRune(" +-", rune(line[0])) {
				return nil, fmt.Errorf("patch, line %d: %q", i+1, line)
			}
			h := &file.Hunks[len(file.Hunks)-1]
			h.Lines = append(h.Lines, line)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("patch: no file in it")
	}
	return files, nil
}

// Apply returns the patched text. The lines of each hunk must be in the text exactly, at the line that the patch names
// or else in only one place.
func (f *FilePatch) Apply(text string) (string, error) {
	lines := strings.Split(text, "\n")
	if f.New {
		lines = nil
	}
	moved := 0 // by how many lines the hunk before was found after its place
	for i := range f.Hunks {
		h := &f.Hunks[i]
		before, after := h.side('+'), h.side('-')
		at, err := f.find(lines, before, h.Line-1+moved)
		if err != nil {
			return "", err
		}
		lines = slices.Replace(lines, at, at+len(before), after...)
		moved = at - (h.Line - 1) + len(after) - len(before)
	}
	out := strings.Join(lines, "\n")
	if f.New {
		out += "\n"
	}
	return out, nil
}

// find returns the index of the wanted lines: expected if they are there, or else the only other place.
func (f *FilePatch) find(lines, want []string, expected int) (int, error) {
	is := func(at int) bool {
		return at >= 0 && at+len(want) <= len(lines) && slices.Equal(lines[at:at+len(want)], want)
	}
	if f.New && len(lines) == 0 {
		return 0, nil
	}
	if is(expected) {
		return expected, nil
	}
	found := -1
	for at := range lines {
		if !is(at) {
			continue
		}
		if found >= 0 {
			return 0, &StalePatch{Path: f.Path, Want: want, many: true}
		}
		found = at
	}
	if found < 0 {
		return 0, &StalePatch{Path: f.Path, Want: want}
	}
	return found, nil
}

// around is how many context lines a patch has before and after a change.
const around = 2

// Renew makes a new patch for the sources in tree, which is rooted in the root of the repository. The lines that
// a hunk changes must still be there, in one place. If context lines have changed, Renew finds the hunk by
// the others. If the lines have moved to another .go file of the same folder, the new patch names that file.
func Renew(patch []byte, tree fs.FS) ([]byte, error) {
	files, err := ParsePatch(patch)
	if err != nil {
		return nil, err
	}
	r := renewal{tree: tree, lines: map[string][]string{}, changes: map[string][]change{}}
	for _, f := range files {
		if f.New {
			return nil, fmt.Errorf("%s is a new file: there is nothing to renew", f.Path)
		}
		if err := r.add(&f); err != nil {
			return nil, err
		}
	}
	return r.patch(), nil
}

// A renewal is a patch in the making.
type renewal struct {
	tree    fs.FS
	lines   map[string][]string // of the files that were read
	paths   []string            // of the files to change, in the order of the old patch
	changes map[string][]change // by path
}

// A change is what lies between the first and the last changed line of a hunk.
type change struct {
	at    int      // the index of its first line in the file
	lines []string // as in a Hunk
}

// read returns the lines of a file, or none if the file does not exist.
func (r *renewal) read(name string) ([]string, error) {
	if lines, ok := r.lines[name]; ok {
		return lines, nil
	}
	text, err := fs.ReadFile(r.tree, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var lines []string
	if err == nil {
		lines = strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	}
	r.lines[name] = lines
	return lines, nil
}

// add finds the hunks of one file in the sources.
func (r *renewal) add(f *FilePatch) error {
	siblings, err := fs.Glob(r.tree, path.Join(path.Dir(f.Path), "*.go"))
	if err != nil {
		return err
	}
	siblings = slices.DeleteFunc(siblings, func(name string) bool {
		return name == f.Path || strings.HasSuffix(name, "_test.go")
	})
	moved := 0 // by how many lines the hunk before has moved
	for _, h := range f.Hunks {
		name, c, shift, err := r.find(f, h, moved, siblings)
		if err != nil {
			return err
		}
		if name == f.Path {
			moved = shift
		}
		if !slices.Contains(r.paths, name) {
			r.paths = append(r.paths, name)
		}
		r.changes[name] = append(r.changes[name], c)
	}
	return nil
}

// find finds a hunk by as many of its context lines as possible, first in its own file and then in the siblings.
// It returns the file, the change, and by how many lines the hunk has moved.
func (r *renewal) find(f *FilePatch, h Hunk, moved int, siblings []string) (name string, c change, shift int, err error) {
	first := slices.IndexFunc(h.Lines, func(l string) bool { return l[0] != ' ' })
	last := len(h.Lines) - 1
	for h.Lines[last][0] == ' ' {
		last--
	}
	own, err := r.read(f.Path)
	if err != nil {
		return "", change{}, 0, err
	}
	var stale error
	for keep := max(first, len(h.Lines)-1-last); keep >= 0; keep-- {
		from, to := max(0, first-keep), min(len(h.Lines), last+1+keep)
		want := (&Hunk{Lines: h.Lines[from:to]}).side('+')
		if len(want) == 0 {
			break // an insertion without context could be anywhere
		}
		name := f.Path
		at, err := f.find(own, want, h.Line-1+moved+from)
		if known := (*StalePatch)(nil); errors.As(err, &known) && !known.many {
			name, at, err = r.elsewhere(f, want, siblings)
		}
		if err == nil {
			return name, change{at + first - from, h.Lines[first : last+1]}, at - from - (h.Line - 1), nil
		}
		stale = err
	}
	if stale == nil {
		stale = &StalePatch{Path: f.Path, Want: h.side('+')}
	}
	return "", change{}, 0, stale
}

// elsewhere finds lines that are in exactly one place of all the siblings.
func (r *renewal) elsewhere(f *FilePatch, want, siblings []string) (name string, at int, err error) {
	for _, sibling := range siblings {
		lines, err := r.read(sibling)
		if err != nil {
			return "", 0, err
		}
		for i := range lines {
			if i+len(want) > len(lines) || !slices.Equal(lines[i:i+len(want)], want) {
				continue
			}
			if name != "" {
				return "", 0, &StalePatch{Path: path.Dir(f.Path), Want: want, many: true}
			}
			name, at = sibling, i
		}
	}
	if name == "" {
		err = &StalePatch{Path: f.Path, Want: want}
	}
	return name, at, err
}

// patch writes the changes as a unified diff.
func (r *renewal) patch() []byte {
	var out bytes.Buffer
	for _, name := range r.paths {
		fmt.Fprintf(&out, "--- a/%s\n+++ b/%s\n", name, name)
		lines, changes := r.lines[name], r.changes[name]
		slices.SortFunc(changes, func(a, b change) int { return a.at - b.at })
		grown, end := 0, 0
		for i, c := range changes {
			h := Hunk{Lines: c.lines}
			old, new := h.side('+'), h.side('-')
			// The context of two hunks does not overlap, and a hunk has no line that another one changes.
			from, to := max(end, c.at-around), min(len(lines), c.at+len(old)+around)
			if i+1 < len(changes) {
				to = min(to, changes[i+1].at)
			}
			fmt.Fprintf(&out, "@@ -%d,%d +%d,%d @@\n", from+1, to-from, from+1+grown, to-from+len(new)-len(old))
			grown += len(new) - len(old)
			for _, l := range lines[from:c.at] {
				out.WriteString(" " + l + "\n")
			}
			for _, l := range c.lines {
				out.WriteString(l + "\n")
			}
			for _, l := range lines[c.at+len(old) : to] {
				out.WriteString(" " + l + "\n")
			}
			end = to
		}
	}
	return out.Bytes()
}

package variants

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"fourways.example/common/servertest/process"
)

// A FilePatch is what a unified diff says about one file.
type FilePatch struct {
	Path  string // from the root of the repository, with slashes
	New   bool   // there is no such file yet
	Hunks []Hunk
}

// A Hunk is a piece of a file, before and after.
type Hunk struct {
	Line  int      // where it was when the patch was made, from 1 on
	Lines []string // with their first byte: " ", "-" or "+"
}

// side is the hunk without the lines that begin with one of these bytes.
func (h *Hunk) side(without byte) []string {
	var lines []string
	for _, l := range h.Lines {
		if l[0] != without {
			lines = append(lines, l[1:])
		}
	}
	return lines
}

// ErrStale is what errors.Is finds in the errors for a patch that no longer fits the sources: its lines are not
// there, or the patched sources do not compile.
var ErrStale = errors.New("the patch does not fit the sources")

// A StalePatch is the error for a patch whose lines are not in the file any more.
type StalePatch struct {
	ID   string // of the pitfall
	Path string
	Want []string // the lines
	many bool
}

// Is makes a StalePatch an ErrStale.
func (e *StalePatch) Is(target error) bool { return target == ErrStale }

func (e *StalePatch) Error() string {
	how := "are not there any more"
	if e.many {
		how = "are there more than once, and not where they were"
	}
	return fmt.Sprintf("bug.patch of %s does not apply: in %s these lines %s:%s\n"+
		"to renew it: go run ./lab pitfall --renew %s; if that gives up, write the bug into a copy of the file\n"+
		"and keep diff -U2 as the package comment of common/servertest/pitfalls says",
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
			path, _, _ := strings.Cut(line[4:], "\t")
			_, path, ok := strings.Cut(path, "/")
			if !ok {
				return nil, fmt.Errorf("patch, line %d: want +++ b/path", i+1)
			}
			files = append(files, FilePatch{Path: path, New: wasNew})
		case m != nil && file != nil:
			n, _ := strconv.Atoi(m[1])
			file.Hunks = append(file.Hunks, Hunk{Line: n})
		case file != nil && len(file.Hunks) > 0 && !strings.HasPrefix(line, "\\") && !strings.HasPrefix(line, "diff ") && !strings.HasPrefix(line, "index "):
			if line == "" {
				line = " " // an editor has taken the blank away
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

// Apply changes the text. The lines of a hunk must all be there, exactly, where they were or at one
// other place.
func (f *FilePatch) Apply(text string) (string, error) {
	lines := strings.Split(text, "\n")
	if f.New {
		lines = nil
	}
	moved := 0 // by how much the hunks before have moved the rest
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

// around is how many lines around a change a patch has.
const around = 2

// Renew makes a patch anew for the files as they are now, read by read. Where lines around a change
// are other ones, it goes by fewer of them; what is changed itself must still be there, in one place.
func Renew(patch []byte, read func(path string) (string, error)) ([]byte, error) {
	files, err := ParsePatch(patch)
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	for _, f := range files {
		if f.New {
			return nil, fmt.Errorf("%s is a new file: there is nothing to renew", f.Path)
		}
		text, err := read(f.Path)
		if err != nil {
			return nil, err
		}
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		fmt.Fprintf(&out, "--- a/%s\n+++ b/%s\n", f.Path, f.Path)
		moved, grown := 0, 0
		for _, h := range f.Hunks {
			core, at, shift, err := f.refind(lines, h, moved)
			if err != nil {
				return nil, err
			}
			old, new := (&Hunk{Lines: core}).side('+'), (&Hunk{Lines: core}).side('-')
			moved = shift
			from, to := max(0, at-around), min(len(lines), at+len(old)+around)
			fmt.Fprintf(&out, "@@ -%d,%d +%d,%d @@\n", from+1, to-from, from+1+grown, to-from+len(new)-len(old))
			grown += len(new) - len(old)
			for _, l := range lines[from:at] {
				out.WriteString(" " + l + "\n")
			}
			for _, l := range core {
				out.WriteString(l + "\n")
			}
			for _, l := range lines[at+len(old) : to] {
				out.WriteString(" " + l + "\n")
			}
		}
	}
	return []byte(out.String()), nil
}

// refind finds a hunk by as many lines around it as still are there. It returns what lies between
// the first and the last change, where that is now, and by how much the hunk has moved.
func (f *FilePatch) refind(lines []string, h Hunk, moved int) (core []string, at, shift int, err error) {
	first := slices.IndexFunc(h.Lines, func(l string) bool { return l[0] != ' ' })
	last := len(h.Lines) - 1
	for h.Lines[last][0] == ' ' {
		last--
	}
	for keep := max(first, len(h.Lines)-1-last); keep >= 0; keep-- {
		from, to := max(0, first-keep), min(len(h.Lines), last+1+keep)
		part := Hunk{Lines: h.Lines[from:to]}
		want := part.side('+')
		if len(want) == 0 {
			break // an insertion with nothing around it could be anywhere
		}
		at, err = f.find(lines, want, h.Line-1+moved+from)
		if err == nil {
			return h.Lines[first : last+1], at + first - from, at - from - (h.Line - 1), nil
		}
	}
	if err == nil {
		err = &StalePatch{Path: f.Path, Want: h.side('+')}
	}
	return nil, 0, 0, err
}

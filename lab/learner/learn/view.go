package learn

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"fourways.example/lab/learner/learn/exercise"
)

// A view prints what a reader sees.
type view struct {
	out    io.Writer
	width  int
	copied *workCopy
}

// terminalWidth returns the terminal's width, or 80 if there is no terminal.
func terminalWidth(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return 80
	}
	return max(int(size.Col), 40)
}

func (v *view) printf(format string, args ...any) { fmt.Fprintf(v.out, format, args...) }

// paragraph prints text in lines that fit. Each line begins with the indent, the first with the label. A word that is too
// long for a line with the indent, such as a path, gets a line with a smaller one.
func (v *view) paragraph(label, text string) {
	indent := strings.Repeat(" ", len(label))
	line := label
	for word := range strings.FieldsSeq(text) {
		size := len([]rune(word))
		if len([]rune(line))+1+size > v.width && strings.TrimSpace(line) != "" && line != label {
			v.printf("%s\n", line)
			line = indent[:max(0, min(len(indent), v.width-size))]
		} else if line != label && strings.TrimSpace(line) != "" {
			line += " "
		}
		line += word
	}
	v.printf("%s\n", line)
}

// rule prints a line with a title.
func (v *view) rule(title string) {
	v.printf("-- %s %s\n", title, strings.Repeat("-", max(0, v.width-len([]rune(title))-4)))
}

// list prints all exercises with their state.
func (v *view) list() {
	stage := 0
	for i, e := range v.copied.all {
		if e.Bug != "" && (i == 0 || v.copied.all[i-1].Bug == "") {
			v.printf("bugs to find\n")
		}
		if e.Bug == "" && e.Stage != stage {
			stage = e.Stage
			v.printf("stage %d\n", stage)
		}
		mark := " "
		if slices.Contains(v.copied.state.Solved, e.ID) {
			mark = "x"
		}
		at := " "
		if e.ID == v.copied.state.Exercise {
			at = ">"
		}
		about := fmt.Sprintf("%d min", e.Minutes)
		if e.Bug != "" { // how long it takes depends on the reader
			about = fmt.Sprintf("stage %d", e.Stage)
		}
		v.printf("%s [%s] %2d  %-16s %s, %s\n", at, mark, i+1, e.ID, e.Title, about)
	}
}

// progress prints how far the reader is.
func (v *view) progress() {
	e, i := v.copied.current()
	about := ""
	if e.Minutes > 0 {
		about = fmt.Sprintf(", about %d min", e.Minutes)
	}
	v.rule(fmt.Sprintf("exercise %d of %d: %s, stage %d%s; %d solved",
		i+1, len(v.copied.all), e.ID, e.Stage, about, len(v.copied.state.Solved)))
}

// task prints the exercise.
func (v *view) task() error {
	e, _ := v.copied.current()
	v.progress()
	v.printf("%s\n", e.Title)
	v.paragraph("Folder:  ", v.copied.dir)
	if e.Bug != "" {
		v.paragraph("Find:    ", fmt.Sprintf("The code has a bug, in common or in %s. The check plays what a client does and sees: begin with it. Then it tries more of the server. In the changed files, the comments inside functions, and all but the first sentence above them, were left out.", e.Check[0].Dir))
		v.paragraph("Read:    ", v.reading(e))
		return nil
	}
	v.paragraph("Missing: ", e.Missing+".")
	stubs, err := v.copied.stubs()
	if err != nil {
		return err
	}
	for i, s := range stubs {
		v.paragraph("Write:   ", strings.Join(e.Cuts[i].Names, ", ")+" in "+s.File)
		if len(s.Pruned) > 0 {
			v.paragraph("         ", "The stub does not import "+strings.Join(s.Pruned, ", ")+"; the real code does.")
		}
	}
	v.paragraph("Read:    ", v.reading(e))
	for i := range e.Check {
		v.described(&e.Check[i])
	}
	return nil
}

// refresh brings the copy up to date, and says so.
func (v *view) refresh() error {
	note, err := v.copied.refresh()
	if note != "" {
		v.paragraph("", note)
	}
	return err
}

// reading names the pages of an exercise. A page that the copy does not have, because it quotes solutions, is in the
// repository.
func (v *view) reading(e *exercise.Exercise) string {
	pages := make([]string, len(e.Read))
	for i, r := range e.Read {
		if path, _, _ := strings.Cut(r, ", "); hidden(path) {
			r = filepath.Join(v.copied.origin, r)
		}
		pages[i] = r
	}
	return strings.Join(pages, "; ")
}

// start begins an exercise, or begins it again.
func (v *view) start(id string) error {
	saved, err := v.copied.start(id)
	if err != nil {
		return err
	}
	if saved != "" {
		v.paragraph("", "Your changed files are saved in "+saved)
	}
	return v.task()
}

// hint prints the next hint. After the third it prints all three again.
func (v *view) hint() error {
	e, _ := v.copied.current()
	n := v.copied.state.Hints
	if n == len(e.Hints) {
		for i, h := range e.Hints {
			v.paragraph(fmt.Sprintf("Hint %d: ", i+1), h)
		}
		v.paragraph("", "These are all hints. `lab learn solution` shows the real code.")
		return nil
	}
	v.copied.state.Hints++
	v.paragraph(fmt.Sprintf("Hint %d of %d: ", n+1, len(e.Hints)), e.Hints[n])
	return v.copied.keep()
}

// solution prints the real code.
func (v *view) solution() error {
	e, _ := v.copied.current()
	if e.Bug != "" {
		return v.change(e)
	}
	for _, c := range e.Cuts {
		code, err := bodies(v.copied.origin, c)
		if err != nil {
			return err
		}
		v.rule("the real code, " + c.File)
		v.printf("%s\n", broken(code, v.width))
	}
	return nil
}

// compare prints the reader's code and the real code: side by side if there is room, otherwise one after the other.
func (v *view) compare() error {
	e, _ := v.copied.current()
	if e.Bug != "" {
		return v.change(e)
	}
	for _, c := range e.Cuts {
		yours, err := bodies(v.copied.dir, c)
		if err != nil {
			return err
		}
		real, err := bodies(v.copied.origin, c)
		if err != nil {
			return err
		}
		if yours == real {
			v.paragraph("", "Your code is the real code of "+c.File+".")
			continue
		}
		if columns, ok := sideBySide("your code", yours, "the real code", real, v.width); ok {
			v.rule(c.File)
			v.printf("%s", columns)
			continue
		}
		v.rule("your code, " + c.File)
		v.printf("%s\n", broken(yours, v.width))
		v.rule("the real code, " + c.File)
		v.printf("%s\n", broken(real, v.width))
	}
	return nil
}

// change prints the change that ends the bug.
func (v *view) change(e *exercise.Exercise) error {
	fix, err := e.Fix(exercise.ReadFrom(v.copied.origin))
	if err != nil {
		return err
	}
	v.rule("the fix")
	v.paragraph("", "The fault: "+fix.Fault+".")
	v.printf("%s", fix.Patch)
	v.paragraph("More, in the repository: ", fix.Page)
	return nil
}

// bodies returns the code of an exercise's functions in a tree.
func bodies(root string, c exercise.Functions) (string, error) {
	text, err := exercise.ReadFrom(root)(c.File)
	if err != nil {
		return "", err
	}
	return exercise.Bodies(text, c.Names)
}

// short returns a path in the working copy without the folder of the copy.
func short(line, dir string) string {
	return strings.ReplaceAll(line, dir+string(filepath.Separator), "")
}

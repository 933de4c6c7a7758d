package learn

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

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

// paragraph prints text in lines that fit. Each line begins with the indent, the first with the label.
func (v *view) paragraph(label, text string) {
	indent := strings.Repeat(" ", len(label))
	line := label
	for word := range strings.FieldsSeq(text) {
		if len([]rune(line))+1+len([]rune(word)) > v.width && strings.TrimSpace(line) != "" && line != label {
			v.printf("%s\n", line)
			line = indent
		}
		if line != label && line != indent {
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
		v.paragraph("Find:    ", fmt.Sprintf("The code has a bug, in common or in %s. The check plays what a client does and sees: begin with it. Then it tries more of the server. In the changed files, the comments inside functions were left out.", e.Check[0].Dir))
		v.paragraph("Read:    ", strings.Join(e.Read, "; "))
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
	v.paragraph("Read:    ", strings.Join(e.Read, "; "))
	for i := range e.Check {
		v.paragraph("Check:   ", e.Check[i].String())
	}
	return nil
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
		v.printf("%s\n", code)
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
		v.printf("%s\n", yours)
		v.rule("the real code, " + c.File)
		v.printf("%s\n", real)
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

// sideBySide returns two texts in two columns. It reports false if a line of the left one does not fit.
func sideBySide(leftTitle, left, rightTitle, right string, width int) (string, bool) {
	column := (width - 3) / 2
	a, b := codeLines(leftTitle, left), codeLines(rightTitle, right)
	var out strings.Builder
	for i := range max(len(a), len(b)) {
		var l, r string
		if i < len(a) {
			l = a[i]
		}
		if i < len(b) {
			r = b[i]
		}
		if len([]rune(l)) > column || len([]rune(r)) > column {
			return "", false
		}
		out.WriteString(strings.TrimRight(fmt.Sprintf("%-*s | %s", column, l, r), " ") + "\n")
	}
	return out.String(), true
}

func codeLines(title, code string) []string {
	return append([]string{title, ""}, strings.Split(strings.ReplaceAll(code, "\t", "  "), "\n")...)
}

// check builds and plays the check, and prints the result. After a success it shows the real code.
func (v *view) check(ctx context.Context) (passed bool, err error) {
	e, i := v.copied.current()
	begin := time.Now()
	passed, output, err := e.Grade(ctx, v.copied.dir)
	if err != nil {
		return false, err
	}
	took := time.Since(begin).Seconds()
	if !passed {
		v.progress()
		rows := shown
		if e.Bug != "" {
			rows = transcript
		}
		for _, line := range tail(output, v.copied.dir, v.width, rows) {
			v.printf("%s\n", line)
		}
		v.printf("not yet (%.1f s)\n", took)
		return false, nil
	}
	if err := v.copied.solved(); err != nil {
		return false, err
	}
	if err := v.compare(); err != nil {
		return false, err
	}
	v.progress()
	v.printf("solved (%.1f s)\n", took)
	if i+1 < len(v.copied.all) {
		v.paragraph("Next: ", fmt.Sprintf("%s, %s: lab learn start %s", v.copied.all[i+1].ID, v.copied.all[i+1].Title, v.copied.all[i+1].ID))
	} else {
		v.printf("This was the last exercise.\n")
	}
	return true, nil
}

// short returns a path in the working copy without the folder of the copy.
func short(line, dir string) string {
	return strings.ReplaceAll(line, dir+string(filepath.Separator), "")
}

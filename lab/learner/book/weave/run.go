package weave

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// A Command is a command of a console block and the lines that it should print. An ellipsis stands for any text
// inside a line, and a line that is only an ellipsis for any number of lines.
type Command struct {
	Text string
	Want []string
}

// Commands reads a console block. A line that begins with "$ " is a command, and goes on in the next line if it ends
// with a backslash. All other lines are output.
func (d Directive) Commands() ([]Command, error) {
	if len(d.Body) < 3 || d.Body[0] != "```console" || d.Body[len(d.Body)-1] != "```" {
		return nil, fmt.Errorf("run: want a block ```console between the two comments")
	}
	var all []Command
	more := false
	for _, line := range d.Body[1 : len(d.Body)-1] {
		text, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case more:
			all[len(all)-1].Text += "\n" + line
			more = strings.HasSuffix(line, `\`)
		case isCommand:
			all = append(all, Command{Text: text})
			more = strings.HasSuffix(text, `\`)
		case len(all) == 0:
			return nil, fmt.Errorf("run: output %q before the first command", line)
		default:
			all[len(all)-1].Want = append(all[len(all)-1].Want, line)
		}
	}
	return all, nil
}

// patience bounds a console block.
const patience = 60 * time.Second

const mark = "=== end of command ==="

// Run carries out the commands in one bash, in the folder dir. Port replaces 8080 in the commands. It returns an
// error that names the first line that differs.
func (d Directive) Run(ctx context.Context, dir, port string, env []string) error {
	commands, err := d.Commands()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var script strings.Builder
	for _, c := range commands {
		script.WriteString(strings.ReplaceAll(c.Text, "8080", port) + "\necho '" + mark + "'\n")
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String())
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("%q takes longer than %v; it has printed:\n%s", commands[0].Text, patience, out)
	}
	if err != nil && len(out) == 0 {
		return fmt.Errorf("bash: %w", err)
	}
	parts := bytes.Split(out, []byte(mark+"\n"))
	for i, c := range commands {
		if i >= len(parts) {
			return fmt.Errorf("%q was not reached", c.Text)
		}
		got := strings.ReplaceAll(string(parts[i]), port, "8080")
		if bad := Compare(c.Want, got); bad != "" {
			return fmt.Errorf("$ %s\n%s\nit has printed:\n%s", c.Text, bad, got)
		}
	}
	return nil
}

// Compare returns what differs between the lines that a block shows and an output, or "".
func Compare(want []string, output string) string {
	var got []string
	for line := range strings.SplitSeq(strings.TrimRight(output, "\n"), "\n") {
		got = append(got, strings.TrimRight(line, " \r"))
	}
	if len(got) == 1 && got[0] == "" {
		got = nil
	}
	if matchLines(want, got) {
		return ""
	}
	// The longest beginning that an output of this form could have tells which line is wrong.
	for n := len(want); n > 0; n-- {
		if matchLines(append(append([]string{}, want[:n-1]...), "…"), got) {
			return fmt.Sprintf("there is no line %q in its place", want[n-1])
		}
	}
	return "the output differs"
}

func matchLines(want, got []string) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if strings.TrimSpace(want[0]) == "…" {
		for i := 0; i <= len(got); i++ {
			if matchLines(want[1:], got[i:]) {
				return true
			}
		}
		return false
	}
	return len(got) > 0 && matchLine(want[0], got[0]) && matchLines(want[1:], got[1:])
}

func matchLine(want, got string) bool {
	parts := strings.Split(strings.TrimRight(want, " "), "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(got)
}

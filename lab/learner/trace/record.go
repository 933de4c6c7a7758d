package trace

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/lab/learner/trace/tape"
)

// straceMissing says why strace cannot be used here, and how to get it. It returns nil if strace works.
func straceMissing() error {
	if _, err := exec.LookPath("strace"); err != nil {
		return errors.New("strace is missing, which prints the system calls; on Debian: apt-get install strace")
	}
	if out, err := exec.Command("strace", "-D", "-qq", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		return fmt.Errorf("strace cannot attach to a process here: %s; it needs ptrace(2), which a container may forbid "+
			"(docker run --cap-add=SYS_PTRACE) and /proc/sys/kernel/yama/ptrace_scope may limit", strings.TrimSpace(string(out)))
	}
	return nil
}

// A recorder runs servers under strace.
type recorder struct {
	dir   string
	file  string            // where the strace that starts the servers writes
	files []output          // where all straces write
	paths map[string]string // the folders of this machine, and the names that stand for them on a tape
}

// An output is what one strace writes.
type output struct {
	path   string
	thread int  // strace -p without -f does not name the thread in each line; 0 if it does
	over   bool // this strace was ended before the server
}

// newRecorder makes a recorder that writes into dir.
func newRecorder(dir string) *recorder {
	file := filepath.Join(dir, "strace")
	r := &recorder{dir: dir, file: file, files: []output{{path: file}}, paths: map[string]string{}}
	if cwd, err := os.Getwd(); err == nil {
		r.paths[cwd] = "/home/user"
	}
	return r
}

// under returns the program that runs prog under strace. With -D the server is still a child of this process, and
// strace is its grandchild.
func (r *recorder) under(prog *process.Program) *process.Program {
	strace, err := exec.LookPath("strace")
	if err != nil {
		strace = "strace" // straceMissing has found it; the start of the server fails with the reason
	}
	return &process.Program{
		// A scenario may start the server through a program that does not search PATH.
		Path: strace, Stage: prog.Stage, Env: prog.Env, Tracer: &process.Tracer{File: r.file, Hold: r.hold},
		Args: slices.Concat(options(r.file), []string{"-D", "-f", "--", prog.Path}, prog.Args),
	}
}

// options are the options of every strace that writes into a file. Several may write into one, after each other.
func options(file string) []string {
	return []string{"-q", "-ttt", "-T", "-yy", "-s", "48", "-A", "-o", file}
}

// await waits until strace has written the end of all servers.
func (r *recorder) await() {
	kernel.Eventually(2*time.Second, func() bool {
		return !slices.ContainsFunc(r.files, func(o output) bool {
			out, err := os.ReadFile(o.path)
			return err != nil || !o.over && !bytes.HasSuffix(out, []byte(" +++\n"))
		})
	})
}

// begins are the calls before the first action of a client that a tape keeps: they say which epoll sets are the
// server's.
var begins = regexp.MustCompile(`^\d+ +[\d.]+ (?:epoll_c|eventfd|listen|bind|<\.\.\. (?:epoll_c|eventfd|listen|bind))`)

// strace returns the output of strace for a tape: what happened from shortly before its first step to its end, and
// the calls before that had not returned.
func (r *recorder) strace(t *tape.Tape, most int) (string, error) {
	var b strings.Builder
	for _, file := range r.files {
		out, err := os.ReadFile(file.path)
		if err != nil {
			return "", err
		}
		for line := range strings.Lines(string(out)) {
			if !strings.HasSuffix(line, "\n") {
				continue // strace was killed
			}
			if file.thread != 0 {
				line = fmt.Sprint(file.thread, " ", line)
			}
			b.WriteString(line)
		}
	}
	text := b.String()
	if len(r.files) > 1 {
		text = tape.Merge(text)
	}
	return tape.Trim(r.clean(text), t.Steps[0].From-5*time.Millisecond, t.End, most, begins), nil
}

// clean replaces the folders of this machine.
func (r *recorder) clean(text string) string {
	longestFirst := slices.SortedFunc(maps.Keys(r.paths), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, old := range longestFirst {
		text = strings.ReplaceAll(text, old, r.paths[old])
	}
	return text
}

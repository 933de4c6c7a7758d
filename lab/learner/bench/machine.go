package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/lab/learner/bench/result"
	"fourways.example/lab/learner/bench/servers"
)

// machine describes this machine. It is called before any load is made.
func machine(w *servers.World) result.Machine {
	m := result.Machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), Files: w.Files, CPU: runtime.GOARCH}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		m.Kernel = "Linux " + unix.ByteSliceToString(u.Release[:])
	}
	if v := procLine("/proc/cpuinfo", "model name"); v != "" {
		m.CPU = v
	}
	kb, _ := strconv.ParseInt(strings.TrimSuffix(procLine("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	m.MemoryMB = kb >> 10
	b, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(b), " ")
	m.Load, _ = strconv.ParseFloat(first, 64)
	return m
}

// procLine returns the value of the first "name : value" line of a file.
func procLine(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		key, value, ok := strings.Cut(s.Text(), ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// commandLine is how the program was called, without its folder and the one for its output: they say nothing about the
// figures, and name folders of this machine.
func commandLine(args []string) string {
	line := []string{filepath.Base(args[0])}
	for i := 1; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-o" || a == "--output":
			i++
		case strings.HasPrefix(a, "-o") || strings.HasPrefix(a, "--output="):
		default:
			line = append(line, a)
		}
	}
	return strings.Join(line, " ")
}

// A progress tells what is being measured, and how much time is left at most. On a terminal it is one line that
// changes; otherwise there is a line every 15 seconds.
type progress struct {
	out      io.Writer
	terminal bool
	start    time.Time
	budget   time.Duration

	mu   sync.Mutex
	last time.Time
	open bool // the line on the terminal has not ended
}

func newProgress(out io.Writer, budget time.Duration) *progress {
	p := &progress{out: out, start: time.Now(), budget: budget}
	if f, ok := out.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		p.terminal = err == nil
	}
	return p
}

// step says what is done now.
func (p *progress) step(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	passed := time.Since(p.start)
	left := ""
	if p.budget > passed {
		left = fmt.Sprintf(", at most %s left", clock(p.budget-passed))
	}
	line := fmt.Sprintf("[%s%s] %s", clock(passed), left, text)
	switch {
	case p.terminal:
		fmt.Fprintf(p.out, "\r\033[K%s", line)
		p.open = true
	case time.Since(p.last) > 15*time.Second:
		fmt.Fprintln(p.out, line)
		p.last = time.Now()
	}
}

// note prints a line that stays.
func (p *progress) note(format string, args ...any) {
	p.end()
	fmt.Fprintf(p.out, format+"\n", args...)
}

// end ends the line that changes.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		fmt.Fprint(p.out, "\r\033[K")
	}
	p.open = false
}

func clock(d time.Duration) string {
	s := int(d.Seconds())
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

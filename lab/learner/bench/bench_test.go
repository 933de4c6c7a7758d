package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fourways.example/common/servertest/kernel"
	"fourways.example/lab/learner/bench/result"
	"fourways.example/lab/learner/bench/servers"
)

// TestEndToEnd measures stage 4 with two connections, and reads the files that this writes.
func TestEndToEnd(t *testing.T) {
	t.Parallel() // it waits more than it works
	dir := t.TempDir()
	var out, log bytes.Buffer
	c := Command{
		Server: []string{"stage4"}, Workload: []string{"small1k", "churn"}, Only: []string{"workloads", "stall"}, Base: "stage4",
		Generator: "own", Each: 100 * time.Millisecond, Conns: 2, Budget: time.Second, Output: dir, Quick: true, out: &out, log: &log,
	}
	if err := c.Run(t.Context()); err != nil {
		t.Fatalf("%v\n%s%s", err, &out, &log)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v, want one file", files, err)
	}
	r, err := result.Read(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if r.Machine.Kernel == "" || r.Machine.CPUs == 0 || r.Command == "" || len(r.Servers) != 1 {
		t.Errorf("machine %+v, command %q, servers %+v", r.Machine, r.Command, r.Servers)
	}
	for _, name := range []string{"small1k", "churn"} {
		cell := r.Cell(name, "stage4")
		if cell == nil || len(cell.Samples) != 1 {
			t.Fatalf("%s: %+v, want one sample", name, cell)
		}
		if s := cell.Samples[0]; s.Responses == 0 || s.CPU == 0 || s.P99 == 0 || s.Errors != 0 || s.Served != 2 {
			t.Errorf("%s: %+v, want responses without errors on both connections", name, s)
		}
	}
	if s := r.Stall; s == nil || s.Open.At(100) < 0.9e6 {
		t.Errorf("%+v: the open loop does not show the stall of a second", s)
	}
	for _, name := range []string{"README.md", "cpu.svg", "stall.svg"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(out.String(), "2 of 2") {
		t.Errorf("the table does not say that both connections were served:\n%s", &out)
	}
}

// TestCompare runs the comparison with short measurements and few connections, because other tests run beside it. Only stage 4 serves the clients beside idle ones.
func TestCompare(t *testing.T) {
	var out, log bytes.Buffer
	c := Compare{Each: 50 * time.Millisecond, Conns: 200, Output: t.TempDir(), out: &out, log: &log}
	if err := c.Run(t.Context()); err != nil {
		t.Fatalf("%v\n%s%s", err, &out, &log)
	}
	_, idle, _ := strings.Cut(out.String(), "100 idle clients")
	idle, _, _ = strings.Cut(idle, "Slow readers")
	if strings.Count(idle, "no response") != 3 || !strings.Contains(idle, "nobody waits for somebody else") {
		t.Errorf("beside idle clients:\n%s", idle)
	}
	if _, err := os.Stat(filepath.Join(c.Output, "compare.svg")); err != nil {
		t.Error(err)
	}
}

// TestInterrupt sends SIGINT to the program while it measures with servers of every kind, and checks that none of the
// processes stays.
func TestInterrupt(t *testing.T) {
	t.Parallel() // it waits more than it works
	lab := filepath.Join(t.TempDir(), "lab")
	build := exec.Command("go", "build", "-o", lab, "fourways.example/lab")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	tmp := t.TempDir()
	args := []string{"bench", "--quick", "-w", "small1k", "--only", "workloads", "--conns", "2", "-o", tmp}
	for _, name := range []string{"stage4", "nethttp", "nginx", "h2o", "floor"} {
		args = append(args, "-s", name)
	}
	cmd := exec.Command(lab, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // all of its processes are in a group
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for r := bufio.NewReader(out); !strings.Contains(said.String(), "servers run"); {
		line, err := r.ReadString('\n')
		if said.WriteString(line); err != nil {
			t.Fatalf("it ends before it measures: %v\n%s", err, said.String())
		}
	}
	if n := len(group(cmd.Process.Pid)); n < 3 {
		t.Errorf("%d processes, want the program and its servers", n)
	}
	_ = cmd.Process.Signal(syscall.SIGINT)
	err = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("%v: exit status %d, want 130\n%s", err, code, said.String())
	}
	if !kernel.Eventually(5*time.Second, func() bool { return len(group(cmd.Process.Pid)) == 0 }) {
		t.Errorf("processes that stay: %q", group(cmd.Process.Pid))
	}
	left, err := filepath.Glob(filepath.Join(tmp, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("files that stay: %q, %v", left, err)
	}
}

// group returns the names of the processes in a process group, without those that have ended.
func group(pgid int) (names []string) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		if f := kernel.Stat(path); len(f) > 2 && f[0] != "Z" && f[2] == strconv.Itoa(pgid) {
			comm, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "comm"))
			names = append(names, strings.TrimSpace(string(comm)))
		}
	}
	return names
}

// TestWorkloads checks that every workload has its file, that 10,000 connections fit into a small limit, and that only
// known names are selected.
func TestWorkloads(t *testing.T) {
	for _, w := range workloads {
		if size, ok := servers.Files[strings.TrimPrefix(w.path, "/")]; w.size != 2 && (!ok || size != w.size) {
			t.Errorf("%s: %s has %d bytes, want %d", w.name, w.path, size, w.size)
		}
		if got := strings.Count(string(w.request()), "GET "+w.path+" HTTP/1.1\r\n"); got != max(1, w.batch) {
			t.Errorf("%s: %d requests at once, want %d", w.name, got, max(1, w.batch))
		}
		if w.fit(1024); w.total() > 724 || w.conns < 1 {
			t.Errorf("%s: %d connections with a limit of 1024 files", w.name, w.total())
		}
	}
	if _, err := selectWorkloads([]string{"nothing"}); err == nil {
		t.Error("a workload that does not exist is selected")
	}
	if _, err := selectWorkloads(quickWorkloads); err != nil {
		t.Error(err)
	}
	for _, k := range servers.Kinds {
		for _, name := range k.Only {
			if _, err := selectWorkloads([]string{name}); err != nil && !slices.Contains([]string{"sweep", "memory", "open"}, name) {
				t.Errorf("%s: %v", k.Name, err)
			}
		}
	}
}

// TestRotation checks that each round begins with another server, and has all of them.
func TestRotation(t *testing.T) {
	all := []int{1, 2, 3}
	for round, want := range [][]int{{1, 2, 3}, {2, 3, 1}, {3, 1, 2}, {1, 2, 3}} {
		if got := rotation(all, round); !slices.Equal(got, want) {
			t.Errorf("round %d: %v, want %v", round, got, want)
		}
	}
}

// TestTurns checks that a server runs active10k right after active100.
func TestTurns(t *testing.T) {
	seen := 0
	for _, turn := range turns(workloads) {
		seen += len(turn)
		if turn[0].name == "active100" && (len(turn) != 2 || turn[1].name != "active10k") || turn[0].name != "active100" && len(turn) != 1 {
			t.Errorf("%s begins a turn of %d workloads", turn[0].name, len(turn))
		}
	}
	if seen != len(workloads) {
		t.Errorf("%d workloads have a turn, want %d", seen, len(workloads))
	}
	alone, err := selectWorkloads([]string{"active10k"})
	if err != nil || len(turns(alone)) != 1 {
		t.Errorf("%v: active10k has no turn without active100", err)
	}
}

// TestReadGoals checks that a goal says in how many of several reports it holds.
func TestReadGoals(t *testing.T) {
	var out bytes.Buffer
	c := Command{Goals: []string{"testdata/small.json", "testdata/small.json"}, out: &out, log: io.Discard}
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"small1k, CPU: stage 4 ÷ C floor", "≤ 1.12", "0 of 2", "2 of 2", "not measured"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table does not contain %q:\n%s", want, &out)
		}
	}
}

// TestCommandLine checks that the figures do not name a folder of the machine.
func TestCommandLine(t *testing.T) {
	for _, args := range []string{"-o /d --quick", "--output /d --quick", "--output=/d --quick", "-o/d --quick", "--quick -o /d", "--quick"} {
		if got := commandLine(strings.Fields("/home/bin/lab bench " + args)); got != "lab bench --quick" {
			t.Errorf("%s: %q, want \"lab bench --quick\"", args, got)
		}
	}
}

// TestList checks that -l describes every workload and every server.
func TestList(t *testing.T) {
	var out bytes.Buffer
	if err := (&Command{List: true, out: &out, log: io.Discard}).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, w := range workloads {
		if !strings.Contains(out.String(), w.name+" ") || !strings.Contains(out.String(), w.help) {
			t.Errorf("the list lacks %s", w.name)
		}
	}
	for _, k := range servers.Kinds {
		if !strings.Contains(out.String(), fmt.Sprintf("\n%s ", k.Name)) {
			t.Errorf("the list lacks %s", k.Name)
		}
	}
}

// TestPublished checks that the page and the pictures in docs/bench are made from the newest figures there.
func TestPublished(t *testing.T) {
	const dir = "../../../docs/bench"
	files, err := filepath.Glob(filepath.Join(dir, "2*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: no figures in docs/bench", err)
	}
	reports := map[string]*result.Report{}
	for _, f := range files {
		if reports[f], err = result.Read(f); err != nil {
			t.Fatal(err)
		}
	}
	newest := slices.MaxFunc(files, func(a, b string) int { return reports[a].Started.Compare(reports[b].Started) })
	made := t.TempDir()
	if err := publish(reports[newest], made); err != nil {
		t.Fatal(err)
	}
	pictures, err := filepath.Glob(filepath.Join(made, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pictures {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, filepath.Base(path)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/bench/%s is not made from %s (%v); run bin/lab bench --page docs/bench/%s", filepath.Base(path), filepath.Base(newest), err, filepath.Base(newest))
		}
	}
}

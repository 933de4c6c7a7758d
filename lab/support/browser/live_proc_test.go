package browser

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"
)

// This file reads /proc in a way of its own, to compare it with what the page says: /proc/net/tcp where the page
// uses sock_diag, and /proc/PID/mem where it uses process_vm_readv.

// A snap is what a page says of the servers. The same type holds what /proc says.
type snap []snapStage

type snapStage struct {
	Port, PID, Backlog int
	Threads            map[string]string // "CALL: CLIENTS" by thread ID, for the threads that wait for clients
	Conns              []string          // "CLIENT OWNER UNREAD UNACKED", sorted, one for each connection
}

func (s snap) pids() (all []int) {
	for _, stage := range s {
		all = append(all, stage.PID)
	}
	return all
}

// snapshot reads the page.
func (v *livePage) snapshot() (s snap) {
	v.t.Helper()
	text := eval[string](v, `JSON.stringify([...document.querySelectorAll("#stages article")].map((a) => {
		const text = (e, s) => e.querySelector(s).textContent;
		const name = (chip) => chip.textContent.split(" × ");
		const of = {};
		const threads = {};
		for (const li of a.querySelectorAll(".threads li")) {
			const tid = li.title.match(/\d+/)[0];
			of[text(li, ".label")] = tid;
			const names = [...li.querySelectorAll(".chip")].map(name).map(([who, n]) => who + " " + (n ?? 1)).sort();
			if (names.length) threads[tid] = text(li, "code") + ": " + names.join(", ");
		}
		const conns = [];
		for (const tr of a.querySelectorAll(".conns tbody tr")) {
			const [who, n] = name(tr.querySelector(".chip"));
			const owner = tr.children[1].textContent.replace(/ \(.*/, "");
			const line = [who, of[owner] ?? owner, parseInt(tr.children[2].title), parseInt(tr.children[3].title)].join(" ");
			for (let i = 0; i < Number(n ?? 1); i++) conns.push(line);
		}
		const ids = text(a, ".ids").match(/\d+/g).map(Number);
		return { Port: ids[0], PID: ids[1], Backlog: (parseInt(text(a, ".backlog-count")) || 0) + (text(a, ".backlog-count").includes("test") ? 1 : 0), Threads: threads, Conns: conns.sort() };
	}))`)
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		v.t.Fatal(err)
	}
	return s
}

// learn notes the ports of the newest client: those that neither an earlier client nor the probe has.
func (v *livePage) learn(name string) {
	v.t.Helper()
	probe := v.probePorts()
	for key := range v.prune() {
		if v.owned[key] == "" && !probe[key] {
			v.owned[key] = name
		}
	}
}

// prune forgets the ports of connections that are over, because the kernel may give such a port to another client. It
// returns those of all connections.
func (v *livePage) prune() map[string]bool {
	v.t.Helper()
	now := map[string]bool{}
	for i, stage := range v.snapshot() {
		for _, c := range tcpTo(stage.Port) {
			now[fmt.Sprint(i, ":", c.remote)] = true
		}
	}
	maps.DeleteFunc(v.owned, func(key, _ string) bool { return !now[key] })
	return now
}

// probePorts returns the port of each probe that waits.
func (v *livePage) probePorts() map[string]bool {
	v.t.Helper()
	all := map[string]bool{}
	for i, port := range eval[[]string](v, `[...document.querySelectorAll(".probe")].map((p) => p.dataset.port ?? "")`) {
		all[fmt.Sprint(i, ":", port)] = true
	}
	return all
}

// A tcp is a line of /proc/net/tcp or tcp6.
type tcp struct {
	remote          int
	unread, unacked int
	inode           string // "0" in the backlog
}

// tcpTo returns the server's ends of the connections to a port.
func tcpTo(port int) (all []tcp) {
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, _ := os.ReadFile(path)
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 10 || hexPort(f[1]) != port || f[3] != "01" && f[3] != "08" { // ESTABLISHED, CLOSE_WAIT
				continue
			}
			sent, received, _ := strings.Cut(f[4], ":")
			unacked, _ := strconv.ParseInt(sent, 16, 64)
			unread, _ := strconv.ParseInt(received, 16, 64)
			all = append(all, tcp{hexPort(f[2]), int(unread), int(unacked), f[9]})
		}
	}
	return all
}

// hexPort returns the port of an address such as 0100007F:1F90.
func hexPort(address string) int {
	_, port, _ := strings.Cut(address, ":")
	n, _ := strconv.ParseInt(port, 16, 32)
	return int(n)
}

// fromProc reads a stage's server from /proc. who finds a client's name by its port.
func fromProc(pid, port int, who func(remote int) string) snapStage {
	s := snapStage{Port: port, PID: pid, Threads: map[string]string{}}
	names := map[string]string{} // of the client, by the link of the server's descriptor
	conns := tcpTo(port)
	for _, c := range conns {
		names["socket:["+c.inode+"]"] = who(c.remote)
	}
	delete(names, "socket:[0]")
	owners := map[string]string{}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, task := range tasks {
		tid := filepath.Base(task)
		call, fds := waits(pid, task)
		counts := map[string]int{}
		for _, fd := range fds {
			link, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
			if name := names[link]; name != "" {
				owners[link] = tid
				counts[name]++
			}
		}
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(counts)) {
			parts = append(parts, fmt.Sprint(name, " ", counts[name]))
		}
		if len(parts) > 0 {
			s.Threads[tid] = call + ": " + strings.Join(parts, ", ")
		}
	}
	for _, c := range conns {
		owner := owners["socket:["+c.inode+"]"]
		switch {
		case c.inode == "0":
			owner = "backlog"
			s.Backlog++
		case owner == "":
			owner = "accepted, no thread"
		}
		s.Conns = append(s.Conns, fmt.Sprint(who(c.remote), " ", owner, " ", c.unread, " ", c.unacked))
	}
	slices.Sort(s.Conns)
	return s
}

// waits returns the call of a thread, and the descriptors for which it waits.
func waits(pid int, task string) (call string, fds []int) {
	b, _ := os.ReadFile(task + "/syscall")
	f := strings.Fields(string(b))
	if len(f) < 3 {
		return "", nil
	}
	nr, _ := strconv.Atoi(f[0])
	arg := func(i int) int64 { n, _ := strconv.ParseUint(f[1+i], 0, 64); return int64(n) }
	switch nr {
	case unix.SYS_PPOLL, pollNumber:
		return "poll", pollSet(pid, arg(0), arg(1))
	case unix.SYS_EPOLL_PWAIT, epollNumber:
		return "epoll_wait", epollSet(pid, arg(0))
	case unix.SYS_SENDFILE:
		return "sendfile", []int{int(arg(0))}
	}
	return f[0], nil
}

// amd64 has older calls too, which newer architectures lack.
const pollNumber, epollNumber = 7, 232

func pollSet(pid int, at, n int64) (fds []int) {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil
	}
	defer mem.Close()
	buf := make([]byte, 8*n)
	if _, err := mem.ReadAt(buf, at); err != nil {
		return nil
	}
	for ; len(buf) >= 8; buf = buf[8:] {
		fds = append(fds, int(int32(binary.NativeEndian.Uint32(buf))))
	}
	return fds
}

func epollSet(pid int, set int64) (fds []int) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, set))
	for line := range strings.Lines(string(b)) {
		var fd int
		if n, _ := fmt.Sscanf(line, "tfd: %d", &fd); n == 1 {
			fds = append(fds, fd)
		}
	}
	return fds
}

// agrees waits until the page has been still for a second, and compares it with /proc and ss. A loop may be interrupted
// in the moment in which /proc is read, so there are several attempts.
func (v *livePage) agrees() {
	v.t.Helper()
	diff := "the page is not still for a second"
	for range 8 {
		before := v.snapshot()
		<-time.After(time.Second) // what is still for a second is the subject of this comparison, not a wait for an event
		if cmp.Diff(before, v.snapshot()) != "" {
			continue
		}
		probe := v.probePorts()
		var got snap
		for i, s := range before {
			got = append(got, fromProc(s.PID, s.Port, func(remote int) string {
				key := fmt.Sprint(i, ":", remote)
				if probe[key] {
					return "test"
				}
				return v.owned[key]
			}))
		}
		if diff = cmp.Diff(before, got) + v.ss(before); diff == "" {
			return
		}
	}
	v.t.Errorf("the page (-) and /proc (+) do not agree:\n%s", diff)
}

// ss compares the backlog and the queues with those that ss prints, if it is installed.
func (v *livePage) ss(page snap) (diff string) {
	if _, err := exec.LookPath("ss"); err != nil {
		return ""
	}
	for _, s := range page {
		backlog := 0
		for _, f := range ssLines(v, "-tlnH", s.Port) {
			n, _ := strconv.Atoi(f[1])
			backlog += n
		}
		var said, printed []string
		for _, c := range s.Conns {
			f := strings.Fields(c)
			said = append(said, strings.Join(f[len(f)-2:], " "))
		}
		for _, f := range ssLines(v, "-tnH", s.Port) {
			printed = append(printed, f[1]+" "+f[2])
		}
		slices.Sort(said)
		slices.Sort(printed)
		diff += cmp.Diff(s.Backlog, backlog) + cmp.Diff(said, printed)
	}
	return diff
}

// ssLines returns the fields of the lines that ss prints for a port: state, Recv-Q, Send-Q.
func ssLines(v *livePage, flags string, port int) (lines [][]string) {
	v.t.Helper()
	out, err := exec.Command("ss", flags, fmt.Sprintf("sport = :%d", port)).Output()
	if err != nil {
		v.t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 3 {
			lines = append(lines, f)
		}
	}
	return lines
}

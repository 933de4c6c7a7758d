// Greedy is a small server that takes too much of one thing with its first request. The name of its executable says of
// what: memory, tasks, files, or network, or daemon for a process that should outlive it. The test links it to each name.
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// what is the thing.
var what = filepath.Base(os.Args[0])

// kept keeps the garbage collector away.
var kept [][]byte

func main() {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		if what == "daemon-memory" {
			fill()
		}
		time.Sleep(time.Minute)
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "parent" {
		daemon()
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening on", l.Addr())
	for {
		conn, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		go serve(conn)
	}
}

func serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if _, err := conn.Read(make([]byte, 64<<10)); err != nil {
		return
	}
	text := take()
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
}

// take takes it, and returns the body of the response: "ok", or what came of it.
func take() string {
	switch what {
	case "memory":
		fill()
	case "tasks":
		for range 100 {
			if err := exec.Command(os.Args[0], "child").Start(); err != nil {
				return err.Error()
			}
			time.Sleep(5 * time.Millisecond)
		}
	case "files":
		for range 200 {
			if _, err := os.Open("/dev/null"); err != nil {
				return err.Error()
			}
		}
	case "daemon", "daemon-hidden", "daemon-memory":
		pid, err := exec.Command(os.Args[0], "parent").Output()
		if err != nil {
			return err.Error()
		}
		return string(pid)
	case "network":
		all, err := net.Interfaces()
		if err != nil {
			return err.Error()
		}
		if len(all) != 1 {
			return fmt.Sprintf("%d network interfaces", len(all))
		}
	}
	return "ok"
}

// fill takes 300 MB of memory.
func fill() {
	for range 300 {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = 1
		}
		kept = append(kept, b)
		time.Sleep(time.Millisecond) // as a parser that reads a large request would
	}
}

// daemon starts a process that belongs to nobody, as a daemon does: in a session of its own, and its parent ends. It prints
// its process ID, also to the file $PID_FILE. A hidden one has an empty environment.
func daemon() {
	cmd := exec.Command(os.Args[0], "child")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if what == "daemon-hidden" {
		cmd.Env = []string{}
	}
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(cmd.Process.Pid)
	if name := os.Getenv("PID_FILE"); name != "" {
		_ = os.WriteFile(name, fmt.Append(nil, cmd.Process.Pid), 0o600)
	}
}

// port returns the value of -p.
func port() string {
	for i, arg := range os.Args {
		if arg == "-p" && i+1 < len(os.Args) {
			return os.Args[i+1]
		}
	}
	return "8080"
}

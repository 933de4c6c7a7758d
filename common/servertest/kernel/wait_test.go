package kernel

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestParseCall reads files as in proc_pid_syscall(5).
func TestParseCall(t *testing.T) {
	accept := strconv.Itoa(unix.SYS_ACCEPT4)
	for _, row := range []struct {
		text, name string
		args       []uint64
	}{
		{accept + " 0x3 0xc000 0x10 0x80000 0x0 0x0 0x7ffc 0x47\n", "accept4", []uint64{3, 0xc000, 0x10, 0x80000, 0, 0, 0x7ffc, 0x47}},
		{"running\n", "running", nil},
		{"-1 0x7ffc 0x47\n", "running", []uint64{0x7ffc, 0x47}},
		{"9999 0x1\n", "system call 9999", []uint64{1}},
		{"", "", nil},
	} {
		if name, args := parseCall(row.text); name != row.name || !slices.Equal(args, row.args) {
			t.Errorf("parseCall(%q) is %q, %x; want %q, %x", row.text, name, args, row.name, row.args)
		}
	}
}

// TestParseEpollSet reads a file as in proc_pid_fdinfo(5). A line that is cut off does not count.
func TestParseEpollSet(t *testing.T) {
	const info = "pos:\t0\nflags:\t02000002\nmnt_id:\t16\nino:\t1057\n" +
		"tfd:        6 events:       19 data:                0  pos:0 ino:421 sdev:f\n" +
		"tfd:        9 events:     2004 data:     100000000  pos:0 ino:88 sdev:8\n" +
		"tfd:       10 eve"
	got := parseEpollSet(info)
	want := []unix.EpollEvent{{Fd: 6, Events: 0x19}, {Fd: 9, Events: 0x2004}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestPollSet finds out what a thread of this process waits for, as for a server's thread.
func TestPollSet(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	tid, done := make(chan int), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		tid <- unix.Gettid()
		set := []unix.PollFd{{Fd: -1, Events: unix.POLLIN}, {Fd: int32(pipe[0]), Events: unix.POLLIN}}
		for _, err := unix.Poll(set, -1); err == unix.EINTR; _, err = unix.Poll(set, -1) {
		}
	}()
	task := strconv.Itoa(<-tid)
	var got []unix.PollFd
	ok := false
	Eventually(time.Second, func() bool {
		name, args := Call(os.Getpid(), task)
		if name == "poll" {
			got, ok = PollSet(os.Getpid(), args)
		}
		return len(got) > 0
	})
	_, _ = unix.Write(pipe[1], []byte("x"))
	<-done
	_, _ = unix.Close(pipe[0]), unix.Close(pipe[1])
	if want := []unix.PollFd{{Fd: int32(pipe[0]), Events: unix.POLLIN}}; !ok || !slices.Equal(got, want) {
		t.Errorf("%+v, %v; want %+v", got, ok, want)
	}
	if set, ok := PollSet(os.Getpid(), []uint64{8, 1}); ok {
		t.Errorf("address 8 holds the set %+v", set)
	}
}

// TestConnections connects two clients and accepts the first one only.
func TestConnections(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("%s is not tried: %v", address, err)
			continue
		}
		defer l.Close()
		port := l.Addr().(*net.TCPAddr).Port
		var clients [2]net.Conn
		for i := range clients {
			if clients[i], err = net.Dial("tcp", l.Addr().String()); err != nil {
				t.Fatal(err)
			}
			defer clients[i].Close()
		}
		if _, err := clients[1].Write([]byte("12345")); err != nil {
			t.Fatal(err)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		all, err := Connections(port)
		if err != nil {
			t.Fatal(err)
		}
		of := func(c net.Conn) *Connection {
			i := slices.IndexFunc(all, func(d Connection) bool { return d.Remote == netip.MustParseAddrPort(c.LocalAddr().String()) })
			if i < 0 {
				t.Fatalf("%v is not in %+v", c.LocalAddr(), all)
			}
			return &all[i]
		}
		if d := of(clients[0]); d.Waits() || d.Inode == 0 || d.Unread != 0 {
			t.Errorf("%s: the accepted connection is %+v", address, d)
		}
		if d := of(clients[1]); !d.Waits() || d.Unread != 5 {
			t.Errorf("%s: the connection in the backlog is %+v", address, d)
		}
		if d, _ := Listener(port); d.Unread != 1 {
			t.Errorf("%s: the backlog has %d connections, want 1", address, d.Unread)
		}
		_ = server.Close()
		if !Eventually(time.Second, func() bool { all, _ = Connections(port); return len(all) == 1 }) {
			t.Errorf("%s: after a close there are %+v, want one", address, all)
		}
	}
}

package pitfalls

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/netns"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/scenario"
	"fourways.example/common/servertest/stages"
)

// stage3Scenarios returns the scenarios about the two address families, and about machines with other defaults.
func stage3Scenarios() []Scenario {
	listen := Place{Dir: "STAGE", Func: "Listen"}
	separate := Place{Dir: "STAGE", Func: "separate"}
	return []Scenario{
		{
			ID: "ipv4-only", Stage: 3,
			Bug:      "the server listens on an IPv4 socket (AF_INET) only",
			Question: "The server listens on 0.0.0.0. B connects to the same machine by IPv6. What does B see?",
			Choices:  []string{"its page: 0.0.0.0 means every address", "connection refused", "it is connected, but gets no response"},
			Answer:   1, Assertion: "ipv6-client-let-in",
			Usually: "that the server listens on 0.0.0.0 only: it means every IPv4 address, and no IPv6 address",
			Where:   []Place{listen, {Dir: "STAGE", Func: "listen"}},
			Fails:   stages.In(1, 2), Needs: needsIPv6,
			Run: func(s *S) { servesBoth(s) },
		},
		{
			ID: "first-address", Stage: 3,
			Bug:      "the server binds only the first address of a list, whatever its family",
			Question: "The server binds the first address in the resolver's list. In one run :: comes first in the list, in another run 0.0.0.0. Which clients can connect?",
			Choices:  []string{"clients of both families, in both runs", "both families if :: comes first, but only IPv4 if 0.0.0.0 does", "only IPv6 if :: comes first, and only IPv4 if 0.0.0.0 does"},
			Answer:   1, Assertion: "both-families-in-either-order",
			Usually: "that the order of a list decides which clients can connect: listen on all addresses that clients may use, not on the first one that works",
			Where:   []Place{listen, separate},
			Fails:   stages.In(1, 2), Needs: needsIPv6, NoServer: true,
			Run: func(s *S) {
				for _, order := range []string{"6 4", "4 6"} {
					s.Step("the server starts on a machine whose resolver lists IPv%c first", order[0])
					server := s.Begin(Config{Env: []string{"ADDRESS_ORDER=" + order}})
					s.Saw("it listens")
					servesBoth(s)
					server.Kill()
				}
			},
		},
		{
			ID: "alternate-accept", Stage: 3,
			Bug:      "one thread accepts from the IPv6 socket and the IPv4 socket in turn",
			Question: "One thread accepts from two listening sockets in turn: from the IPv6 socket, then from the IPv4 socket. A connects by IPv6 and gets its page. Then B connects by IPv6, too. What does B see?",
			Choices:  []string{"its page", "it is connected, and waits until a client connects by IPv4", "connection refused"},
			Answer:   1, Assertion: "served-without-the-other-family",
			Usually: "that a thread blocks in accept(2) on one socket while clients wait on another: use a thread for each socket, or poll(2) on both",
			Where:   []Place{{Dir: "STAGE", Func: "Serve", Has: "acceptAll("}, {Dir: "STAGE", Func: "acceptAll"}},
			Stages:  stages.In(3, 4), Needs: needsIPv6, Flags: []string{"--bind", "separate"},
			Run: func(s *S) {
				for i, ipv6 := range []bool{true, true, false, false} {
					p := connectBy(s, string(rune('A'+i)), ipv6)
					p.Send("GET /plain.txt", plainGet)
					resp, err := p.Answer()
					s.Assert(err == nil && resp.Status == 200, "%s gets: %s", p.Name, scenario.InWords(resp, err))
				}
			},
		},
		{
			ID: "dual-bind-clash", Stage: 3,
			Bug:      "the server opens two sockets for one port, and leaves IPV6_V6ONLY off",
			Question: "The server opens an IPv6 socket on a port, with the system's default options, and then an IPv4 socket on the same port. What happens?",
			Choices:  []string{"both sockets listen, each for its family", "the second socket fails: address already in use", "both sockets listen, and either of them may get an IPv4 client"},
			Answer:   1, Assertion: "both-sockets-listen",
			Usually: "that an IPv6 socket takes the port in both families: set IPV6_V6ONLY before bind(2)",
			Where:   []Place{separate, {Dir: "STAGE", Func: "listen", Has: "l.V6Only"}},
			Stages:  stages.In(3, 4), Needs: needsIPv6, NoServer: true,
			Run: func(s *S) {
				starts(s, Config{Flags: []string{"--bind", "separate"}}, "with a socket for each family")
				servesBoth(s)
			},
		},
		{
			ID: "v6only-default", Stage: 3,
			Bug:      "the server assumes that IPV6_V6ONLY is off by default",
			Question: "The server wants its IPv6 socket to take IPv4 clients, too. It does not set IPV6_V6ONLY, because off is the default. This machine has net.ipv6.bindv6only = 1. What does an IPv4 client see?",
			Choices:  []string{"its page", "connection refused", "the server does not start"},
			Answer:   1, Assertion: "ipv4-client-let-in",
			Usually: "that the server relies on a default that an administrator can change: always set the option, to on or to off",
			Where:   []Place{{Dir: "STAGE", Func: "listen", Has: "l.V6Only"}, listen},
			Stages:  stages.In(3, 4), Needs: needsNamespace, Network: true, NoServer: true,
			Run: func(s *S) {
				s.Step("the server starts on a machine with net.ipv6.bindv6only = 1")
				leave, err := netns.EnterNetwork(netns.V6OnlySet)
				if err != nil {
					s.Fatalf("the network namespace: %v", err)
				}
				s.OnEnd(leave)
				s.Begin(Config{})
				s.Saw("it listens")
				servesBoth(s)
			},
		},
		{
			ID: "one-family-machine", Stage: 3,
			Bug:      "the server gives up when socket(2) fails with EAFNOSUPPORT",
			Question: "The kernel has no IPv6: socket(AF_INET6) fails with EAFNOSUPPORT. The server treats this like any other error while it starts to listen. What does an IPv4 client see?",
			Choices:  []string{"its page", "connection refused: the server has not started", "a response that says that IPv6 is missing"},
			Answer:   1, Assertion: "starts-with-what-there-is",
			Usually: "that the server treats all errors of socket, bind and listen alike: it should serve whatever families the machine has",
			Where:   []Place{{Dir: "STAGE", Func: "lacks"}, listen, separate},
			Stages:  stages.In(3, 4), Needs: needsFilter, NoServer: true,
			Run: func(s *S) {
				starts(s, Config{Wrap: netns.Lack(unix.AF_INET6)}, "on a machine without AF_INET6")
				a := connectBy(s, "A", false)
				a.Send("GET /plain.txt", plainGet)
				resp, err := a.Answer()
				s.Assert(err == nil && resp.Status == 200, "an IPv4 client gets: %s", scenario.InWords(resp, err))
				s.Step("what does the start line say about IPv4 and IPv6?")
				said := strings.Contains(s.Server.Start, "IPv4 only")
				if said {
					s.Saw("IPv4 only")
				} else {
					s.Saw("nothing")
				}
				s.Assert(said, "the start line does not say that the server serves IPv4 only: %s", s.Server.Start)
			},
		},
		{
			ID: "mapped-address", Stage: 3,
			Bug:      "the server logs and compares an IPv4 address in its mapped form, ::ffff:a.b.c.d",
			Question: "One IPv6 socket takes the clients of both families. A connects from 127.0.0.1. Which address does the log give for A?",
			Choices:  []string{"127.0.0.1", "::ffff:127.0.0.1", "::1"},
			Answer:   1, Assertion: "one-name-for-a-client",
			Usually: "that an IPv6 socket reports an IPv4 client with a mapped address: unmap the address where the server accepts the connection",
			Where:   []Place{{Dir: "STAGE", Func: "accept", Has: "UnmapPeer()"}},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /plain.txt", plainGet)
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("not answered: %s", scenario.InWords(resp, err))
				}
				s.Step("which address does the log give for A?")
				log := ""
				s.UntilAfter(process.Patience/4, func() bool {
					_, log, _ = strings.Cut(s.Server.Stdout.String(), "\n")
					return strings.Contains(log, "/plain.txt")
				})
				mapped := strings.Contains(log, "::ffff")
				switch {
				case mapped:
					s.Saw("::ffff:127.0.0.1")
				case strings.Contains(log, "127.0.0.1"):
					s.Saw("127.0.0.1")
				default:
					s.Fatalf("the log has no address of A:%s", process.Indent(log))
				}
				s.Assert(!mapped, "the log has a mapped address for an IPv4 client: %s", strings.TrimSpace(log))
			},
		},
	}
}

// connectBy is like Connect, and names the family in the transcript.
func connectBy(s *S, name string, ipv6 bool) *Peer {
	if ipv6 {
		return s.ConnectWith(name, DialOptions{IPv6: true})
	}
	s.Step("%s connects by IPv4", name)
	p := s.Join(name, DialOptions{})
	if p.Conn == nil {
		s.Saw("refused")
	} else {
		s.Saw("connected")
	}
	return p
}

// servesBoth asserts that an IPv4 client and an IPv6 client get their pages.
func servesBoth(s *S) {
	for _, ipv6 := range []bool{false, true} {
		name := map[bool]string{false: "A", true: "B"}[ipv6]
		p := connectBy(s, name, ipv6)
		s.Assert(p.Conn != nil, "%s is refused", map[bool]string{false: "an IPv4 client", true: "an IPv6 client"}[ipv6])
		p.Send("GET /plain.txt", plainGet)
		resp, err := p.Answer()
		s.Assert(err == nil && resp.Status == 200, "%s gets: %s", name, scenario.InWords(resp, err))
		p.Abandon() // an iterative server serves one client at a time
	}
}

// starts is like Begin, and asserts that the server starts. how completes the step "the server starts".
func starts(s *S, c Config, how string) {
	s.Step("the server starts %s", how)
	if c.Root == "" {
		c.Root = s.Root.Dir
	}
	c.Flags = slices.Concat(s.Scenario.Flags, c.Flags)
	server, err := s.Program.Begin(c)
	if err == nil {
		s.Server = server
		s.OnEnd(server.Kill)
		s.Saw("it listens")
		return
	}
	s.Saw("it ends at once")
	s.Assert(false, "the server does not start: %v", err)
}

// needsIPv6 says why this machine has no IPv6, or "".
func needsIPv6() string {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet6{Addr: [16]byte{15: 1}})
		_ = unix.Close(fd)
	}
	if err != nil {
		return fmt.Sprintf("needs IPv6: there is no ::1 on this machine: %v", err)
	}
	return ""
}

// needsNamespace says why network namespaces do not work here, or "". It enters one and leaves it again.
func needsNamespace() string {
	why := make(chan string)
	go func() {
		leave, err := netns.EnterNetwork(netns.BothFamilies)
		if err != nil {
			why <- fmt.Sprintf("needs network namespaces: %v", err)
		} else {
			leave()
		}
		close(why)
	}()
	return <-why
}

// needsFilter says why this program cannot filter socket(2) for a program that it starts, or "": see netns.Enter.
func needsFilter() string {
	me := netns.Lack(unix.AF_INET6)
	p, err := os.StartProcess(me[0], append(me, "/bin/true"), &os.ProcAttr{
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return err.Error()
	}
	state, err := p.Wait()
	if err == nil && !state.Success() {
		err = errors.New(state.String())
	}
	if err != nil {
		return fmt.Sprintf("needs seccomp filters: %v", err)
	}
	return ""
}

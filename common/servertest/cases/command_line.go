package cases

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/suite"
)

// account is the environment of a server with an account and a secret.
var account = []string{"USER_NAME=user0", "USER_PASS=thepassword", "SECRET=a secret for tests"}

const credentials = `{"username": "user0", "password": "thepassword"}`

func cliCases() []Case {
	return []Case{
		{Name: "cli-port", IDs: []string{"cli-port"}, NoServer: true, Run: func(t *T) {
			// Other cases let the server choose a port. This case gives one, in both spellings.
			for _, flag := range []string{"-p", "--port"} {
				port := t.FreePort()
				s := t.Begin(Config{Flags: []string{flag, strconv.Itoa(port)}, Port: port})
				if err := suite.Healthy(s); err != nil {
					t.Errorf("%s %d: %v", flag, port, err)
				}
				if !strings.Contains(s.Start, strconv.Itoa(port)) {
					t.Errorf("%s %d: the start line is %q", flag, port, s.Start)
				}
			}
		}},
		{Name: "cli-port-zero", IDs: []string{"cli-port-zero"}, NoServer: true, Run: func(t *T) {
			a, b := t.Begin(Config{}), t.Begin(Config{})
			if a.Port == 0 || a.Port == b.Port {
				t.Errorf("two servers got the ports %d and %d", a.Port, b.Port)
			}
			for _, s := range []*Server{a, b} {
				if !strings.Contains(s.Start, strconv.Itoa(s.Port)) {
					t.Errorf("the server listens on port %d, but the start line is %q", s.Port, s.Start)
				}
			}
		}},
		{Name: "cli-root", IDs: []string{"cli-root"}, NoServer: true, Run: func(t *T) {
			for _, c := range []Config{
				{Dir: t.Root.Dir},
				{Dir: os.TempDir(), Root: t.Root.Dir},
				{Dir: t.Root.Dir, Root: "sub/.."},
				{Dir: t.Root.Dir, Flags: []string{"--root", "."}},
			} {
				s := t.Begin(c)
				t.DialTo(s, DialOptions{}).Request("GET", "/plain.txt").WantBody(200, docroot.Texts["plain.txt"])
			}
		}},
		{Name: "cli-fallback", IDs: []string{"cli-fallback"}, Flags: []string{"-a"}, Run: func(t *T) {
			t.Dial().Request("GET", "/nothing-there").WantBody(200, docroot.Texts["index.html"])
		}},
		{Name: "cli-fallback-long", IDs: []string{"cli-fallback"}, Flags: []string{"--fallback"}, Run: func(t *T) {
			t.Dial().Request("GET", "/nothing-there").WantBody(200, docroot.Texts["index.html"])
		}},
		{Name: "cli-fallback-off", IDs: []string{"cli-fallback"}, Run: func(t *T) {
			t.Dial().Request("GET", "/nothing-there").Want(404)
		}},
		{Name: "cli-expire", IDs: []string{"cli-expire"}, Env: account, Flags: []string{"-e", "1234"}, Run: tokenLife(1234)},
		{Name: "cli-expire-long", IDs: []string{"cli-expire"}, Env: account, Flags: []string{"--expire", "77"}, Run: tokenLife(77)},
		{Name: "cli-expire-default", IDs: []string{"cli-expire"}, Env: account, Run: tokenLife(86400)},
		{Name: "cli-silent", IDs: []string{"cli-silent", "start-line"}, NoServer: true, Run: func(t *T) {
			for _, flag := range []string{"-s", "--silent"} {
				s := t.Begin(Config{Flags: []string{flag}})
				for range 3 {
					c := t.DialTo(s, DialOptions{})
					c.Request("GET", "/healthz").Want(200)
					c.Close()
				}
				if err := s.Stop(); err != nil {
					t.Errorf("%v", err)
				}
				if out := s.Stdout.String(); strings.Count(out, "\n") != 2 { // the start and the stop
					t.Errorf("%s: want only the lines of the start and the stop on stdout after three requests, got:%s", flag, process.Indent(out))
				}
			}
		}},
		{Name: "cli-access-log", IDs: []string{"cli-access-log"}, Run: func(t *T) {
			before := t.Server.Stdout.Len()
			c := t.Dial()
			c.Request("GET", "/plain.txt?in-the-log").Want(200)
			c.Request("GET", "/not-there-in-the-log").Want(404)
			for path, status := range map[string]string{"/plain.txt": "200", "/not-there-in-the-log": "404"} {
				t.Eventually("one line of the log has "+path+" and "+status, func() bool {
					n := 0
					for line := range strings.Lines(t.Server.Stdout.Since(before)) {
						if strings.Contains(line, path) && regexp.MustCompile(`\b`+status+`\b`).MatchString(line) {
							n++
						}
					}
					return n == 1
				})
			}
		}},
		{Name: "cli-access-log-forged", IDs: []string{"cli-access-log"}, Run: func(t *T) {
			// Bytes from a client must not start a new line in the log or control a terminal.
			before := t.Server.Stdout.Len()
			c := t.Dial()
			c.Request("GET", "/forged?%0Aline", "User-Agent: \x80\x9b2J", "Referer: \"\\\" 200").Want(404)
			c.Request("GET", "/after-the-forged").Want(404)
			out := ""
			t.Eventually("both lines are in the log", func() bool {
				out = t.Server.Stdout.Since(before)
				return regexp.MustCompile(`after-the-forged.*\n`).MatchString(out)
			})
			_, out, _ = strings.Cut(out, "/forged") // drop the lines of earlier requests
			if strings.Count(out, "\n") != 2 || strings.ContainsAny(out, "\x1b\x00\r") || strings.Contains(out, "\x9b") {
				t.Errorf("want two lines without control bytes in the log, got %q", out)
			}
		}},
		{Name: "cli-workers", IDs: []string{"cli-workers", "start-line-workers"}, Stages: stages.In(2, 3, 4), NoServer: true, Run: func(t *T) {
			byDefault := 64
			if t.Stage() == 4 {
				byDefault = runtime.NumCPU()
			}
			for _, c := range []struct {
				want  int
				flags []string
			}{{17, []string{"-n", "17"}}, {97, []string{"--workers", "97"}}, {byDefault, nil}} {
				s := t.Begin(Config{Flags: c.flags})
				if !workers(s.Start, c.want) {
					t.Errorf("%q: the start line is %q, want %d workers in it", c.flags, s.Start, c.want)
				}
				t.Eventually(fmt.Sprintf("%q: the server has %d threads", c.flags, c.want), func() bool { return s.Threads() >= c.want })
				t.OnEnd(func() { // when late threads have started too
					if n := s.Threads(); n > c.want+60 { // the Go runtime has threads of its own
						t.Errorf("%q: the server has %d threads, want at most %d", c.flags, n, c.want+60)
					}
				})
			}
		}},
		{Name: "cli-workers-absent", IDs: []string{"cli-workers-absent"}, Stages: stages.In(1), NoServer: true, Run: func(t *T) {
			for _, flag := range []string{"-n", "--workers"} {
				refusedFlag(t, []string{flag, "4"}, flag, "(?i)stage.?2")
			}
		}},
		{Name: "cli-bind-absent", IDs: []string{"cli-bind-absent"}, Stages: stages.In(1, 2), NoServer: true, Run: func(t *T) {
			refusedFlag(t, []string{"--bind", "auto"}, "bind", "(?i)stage.?3")
			refusedFlag(t, []string{"--bind=dual"}, "bind", "(?i)stage.?3")
		}},
		{Name: "cli-bind-auto", IDs: []string{"cli-bind-auto"}, Stages: stages.In(3, 4), NoServer: true, Run: bind(0, true, true, "", "auto")},
		{Name: "cli-bind-dual", IDs: []string{"cli-bind-dual"}, Stages: stages.In(3, 4), NoServer: true, Run: bind(1, true, true, "dual")},
		{Name: "cli-bind-separate", IDs: []string{"cli-bind-separate"}, Stages: stages.In(3, 4), NoServer: true, Run: bind(2, true, true, "separate")},
		{Name: "cli-bind-4", IDs: []string{"cli-bind-4"}, Stages: stages.In(3, 4), NoServer: true, Run: bind(1, true, false, "4")},
		{Name: "cli-bind-6", IDs: []string{"cli-bind-6"}, Stages: stages.In(3, 4), NoServer: true, Run: bind(1, false, true, "6")},
		{Name: "cli-defer-accept-absent", IDs: []string{"cli-defer-accept-absent"}, Stages: stages.In(1, 2, 3), NoServer: true, Run: func(t *T) {
			refusedFlag(t, []string{"--defer-accept"}, "defer-accept", "(?i)stage.?4")
		}},
		{Name: "cli-defer-accept", IDs: []string{"cli-defer-accept"}, Stages: stages.In(4), NoServer: true, Run: deferAccept},
		{
			// A client with a request under way keeps its connection, in every stage.
			Name: "cli-max-conns", IDs: []string{"cli-max-conns"}, Stages: stages.In(2, 3, 4), Flags: []string{"--max-conns", "2"},
			Run: func(t *T) {
				a, b := halfRequest(t, t.Server, DialOptions{}), halfRequest(t, t.Server, DialOptions{})
				c := t.Dial()
				c.Request("GET", "/healthz").WantSilence(100 * time.Millisecond)
				if n := t.Server.Connections(); n > 2 {
					t.Errorf("%d connections are open, want at most 2", n)
				}
				a.Close()
				c.WantBody(200, "ok")
				c.Send(halfHealthz)
				c.AwaitRead()
				b.Send(restHealthz).WantBody(200, "ok")
				b.Send(halfHealthz)
				b.AwaitRead()
				// A reset frees a connection too.
				d := t.Dial()
				d.Request("GET", "/healthz").WantSilence(50 * time.Millisecond)
				b.Reset()
				d.WantBody(200, "ok")
				c.Send(restHealthz).WantBody(200, "ok")
			},
		},
		{
			Name: "cli-max-conns-idle", IDs: []string{"cli-max-conns"}, Stages: stages.In(2, 3), Flags: []string{"--max-conns", "2"},
			Run: func(t *T) {
				a, b, c := t.Dial(), t.Dial(), t.Dial()
				a.WantKept()
				b.WantKept()
				c.Request("GET", "/healthz").WantSilence(100 * time.Millisecond)
				a.Close()
				c.WantBody(200, "ok")
				b.WantKept()
			},
		},
		{
			Name: "cli-max-conns-families", IDs: []string{"cli-max-conns", "cli-bind-separate"}, Stages: stages.In(3, 4),
			Flags: []string{"--max-conns", "1", "--bind", "separate"},
			Run: func(t *T) {
				if !haveIPv6() {
					t.Logf("skipped: this machine has no IPv6")
					return
				}
				for i := range 6 { // a client of either family gets the only connection
					c := t.DialTo(t.Server, DialOptions{IPv6: i%3 == 1})
					c.Request("GET", "/healthz").WantBody(200, "ok")
					c.Close()
				}
				a := halfRequest(t, t.Server, DialOptions{IPv6: true})
				b := t.Dial()
				b.Request("GET", "/healthz").WantSilence(100 * time.Millisecond)
				a.Close()
				b.WantBody(200, "ok")
			},
		},
		{Name: "cli-max-conns-shed", IDs: []string{"cli-max-conns-shed"}, Stages: stages.In(4), NoServer: true, Run: shedIdle},
		{Name: "cli-max-conns-shed-loops", IDs: []string{"cli-max-conns-shed", "cli-max-conns"}, Stages: stages.In(4), NoServer: true, Run: shedInLoops},
		{
			Name: "cli-max-conns-default", IDs: []string{"cli-max-conns-default"}, Stages: stages.In(2, 3, 4), NoServer: true, Alone: true,
			Run: func(t *T) {
				limits := []struct{ descriptors, workers, want int }{
					{500, 200, 500 - 256 - 64}, // with fewer workers the pool would be the limit
					{440, 200, 440 - 256 - 64},
					{320, 200, 320 / 4},
				}
				if t.Stage() == 4 {
					limits[0].workers, limits[0].want = 4, 500-256-64-2*4
					limits[1].workers, limits[1].want = 1, 440-256-64-2*1
					limits[2].workers, limits[2].want = 20, (320-2*20)/4
					limits = append(limits, struct{ descriptors, workers, want int }{1024, 128, 1024 - 256 - 64 - 2*128})
				}
				for _, l := range limits {
					fillServer(t, l.descriptors, l.workers, l.want)
				}
			},
		},
		{Name: "cli-flags-everywhere", IDs: []string{"cli-flags-everywhere", "cli-durations"}, NoServer: true, Run: func(t *T) {
			short := []string{"-p", "0", "-R", t.Root.Dir, "-a", "-e", "60", "-s"}
			long := []string{"--port", "0", "--root", t.Root.Dir, "--fallback", "--expire", "60", "--silent"}
			equals := []string{"--port=0", "--root=" + t.Root.Dir, "--expire=60", "--idle-timeout=1m30s", "--max-conns=100"}
			times := []string{
				"--idle-timeout", "60s", "--header-timeout", "500ms", "--body-timeout", "1m", "--write-timeout", "1.5s", "--max-conns", "50",
			}
			if t.Stage() >= 2 {
				short, long = append(short, "-n", "2"), append(long, "--workers", "2")
			}
			if t.Stage() >= 3 {
				long = append(long, "--bind", "auto")
			}
			if t.Stage() >= 4 {
				long = append(long, "--defer-accept")
			}
			for _, flags := range [][]string{short, slices.Concat(long, times), equals} {
				s := t.Begin(Config{Flags: flags})
				if err := suite.Healthy(s); err != nil {
					t.Errorf("%q: %v", flags, err)
				}
			}
		}},
		{Name: "cli-bad-flag", IDs: []string{"start-bad-flag", "cli-durations", "cli-expire-seconds"}, NoServer: true, Run: func(t *T) {
			for _, args := range [][]string{
				{"--nonsense"},
				{"-x"},
				{"-p", "x"},
				{"-p", "65536"},
				{"-p", "-1"},
				{"-p"},
				{"-e", "x"},
				{"-e", "60s"},
				{"-e", "1.5"},
				{"--idle-timeout", "5"},
				{"--idle-timeout", "soon"},
				{"--header-timeout", "10"},
				{"--body-timeout", "x"},
				{"--write-timeout", "30"},
				{"--max-conns", "many"},
				{"stray"},
				{"-s", "stray"},
			} {
				refusedFlag(t, args, strings.TrimLeft(args[0], "-"), "")
			}
			if t.Stage() >= 2 {
				refusedFlag(t, []string{"-n", "0"}, "n", "")
				refusedFlag(t, []string{"-n", "-3"}, "n", "")
				refusedFlag(t, []string{"--workers", "x"}, "workers", "")
			}
			if t.Stage() >= 3 {
				refusedFlag(t, []string{"--bind", "5"}, "bind", "")
			}
		}},
		{Name: "cli-help", IDs: []string{"cli-help", "cli-port"}, NoServer: true, Run: func(t *T) {
			for _, flag := range []string{"-h", "--help"} {
				status, stdout, stderr := t.Exec(flag)
				if status != 0 || stderr != "" {
					t.Errorf("%s: exit status %d, on stderr:%s", flag, status, process.Indent(stderr))
				}
				for _, want := range []string{
					"-p", "--port", "8080", "-R", "--root", "-a", "--fallback", "-e", "--expire", "86400", "-s", "--silent", "--idle-timeout",
					"--header-timeout", "--body-timeout", "--write-timeout", "--max-conns",
				} {
					if !strings.Contains(stdout, want) {
						t.Errorf("%s: the help does not name %s:%s", flag, want, process.Indent(stdout))
						break
					}
				}
			}
		}},
		{Name: "cli-version", IDs: []string{"cli-version"}, NoServer: true, Run: func(t *T) {
			status, stdout, stderr := t.Exec("--version")
			if status != 0 || stderr != "" {
				t.Errorf("--version: exit status %d, on stderr:%s", status, process.Indent(stderr))
			}
			if !regexp.MustCompile(fmt.Sprintf(`^stage%d\S* \S+\n$`, t.Stage())).MatchString(stdout) {
				t.Errorf("--version: want the name of the stage and a version on stdout, got:%s", process.Indent(stdout))
			}
			if _, help, _ := t.Exec("-h"); !strings.Contains(help, "--version") {
				t.Errorf("-h does not list --version:%s", process.Indent(help))
			}
		}},
		{Name: "cli-backlog", IDs: []string{"cli-backlog"}, Run: func(t *T) {
			want := 4096
			if data, err := os.ReadFile("/proc/sys/net/core/somaxconn"); err == nil {
				if n, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil {
					want = min(want, n) // the kernel's upper limit
				}
			}
			if l, ok := kernel.Listener(t.Server.Port); !ok || int(l.Unacked) != want {
				t.Errorf("the backlog is %d, want %d", l.Unacked, want)
			}
		}},

		{Name: "env-account", IDs: []string{"env-account", "env-no-account-note"}, Env: account, Run: func(t *T) {
			if strings.Contains(strings.ToLower(t.Server.Start), "login is off") {
				t.Errorf("there is an account, but the start line is %q", t.Server.Start)
			}
			c := t.Dial()
			c.Post("/api/login", credentials).Want(200)
			c.Post("/api/login", `{"username": "user0", "password": "thepasswor"}`).Want(403)
			c.Post("/api/login", `{"username": "user", "password": "thepassword"}`).Want(403)
		}},
		{Name: "env-secret", IDs: []string{"env-secret"}, NoServer: true, Run: func(t *T) {
			other := []string{account[0], account[1], "SECRET=another secret for tests"}
			var servers []*Server
			for _, env := range [][]string{account, account, other, account[:2], account[:2]} {
				servers = append(servers, t.Begin(Config{Env: env}))
			}
			claims := func(s *Server, cookie string) string {
				c := t.DialTo(s, DialOptions{})
				defer c.Close()
				return string(c.Request("GET", "/api/login", "Cookie: "+cookie).Want(200).Body)
			}
			cookies := make([]string, len(servers))
			for i, s := range servers {
				cookies[i] = loggedIn(t, s)
				if !strings.Contains(claims(s, cookies[i]), "user0") {
					t.Errorf("server %d does not accept its own token", i)
				}
			}
			if !strings.Contains(claims(servers[1], cookies[0]), "user0") {
				t.Errorf("a server with the same SECRET does not accept the token")
			}
			for _, i := range []int{2, 3} {
				if strings.Contains(claims(servers[i], cookies[0]), "user0") {
					t.Errorf("server %d accepts a token that another SECRET signed", i)
				}
			}
			if strings.Contains(claims(servers[4], cookies[3]), "user0") {
				t.Errorf("two servers without SECRET use the same secret")
			}
			for _, s := range servers[3:] {
				if out := s.Stdout.String(); strings.Count(out, "SECRET") != 1 {
					t.Errorf("without SECRET: want one line about SECRET on stdout, got:%s", process.Indent(out))
				}
			}
		}},
		{Name: "env-no-account", IDs: []string{"env-no-account", "env-no-account-note", "start-line"}, NoServer: true, Run: func(t *T) {
			for _, env := range [][]string{nil, account[2:], account[:1], account[1:], {"USER_NAME=", "USER_PASS="}, {"USER_NAME=a", "USER_PASS="}} {
				t.Sub(fmt.Sprintf("%q", env), func(t *T) {
					s := t.Begin(Config{Env: env})
					if !regexp.MustCompile(`(?i)login is off`).MatchString(s.Start) {
						t.Errorf("the start line %q does not say that login is off", s.Start)
					}
					c := t.DialTo(s, DialOptions{})
					for _, body := range []string{
						credentials, `{"username": "", "password": ""}`, `{"username": "admin", "password": "admin"}`, `{"username": "a", "password": ""}`,
					} {
						if resp := c.Post("/api/login", body).Want(403); resp.Get("Set-Cookie") != "" {
							t.Errorf("a login with %s sets a cookie", body)
						}
					}
					c.Close()
					if err := s.Stop(); err != nil {
						t.Errorf("%v", err)
					}
					if n := strings.Count(strings.ToLower(s.Stdout.String()), "login is off"); n != 1 {
						t.Errorf("stdout says %d times that login is off, want once", n)
					}
				})
			}
		}},

		{Name: "start-line", IDs: []string{
			"start-line", "start-line-stage", "start-line-root", "start-line-address",
		}, NoServer: true, Run: func(t *T) {
			s := t.Begin(Config{Env: account})
			if want := fmt.Sprint("stage", t.Stage()); !strings.Contains(s.Start, want) {
				t.Errorf("the start line %q does not name %s", s.Start, want)
			}
			if !strings.Contains(s.Start, t.Root.Dir) {
				t.Errorf("the start line %q does not name the root", s.Start)
			}
			want := []string{fmt.Sprint("0.0.0.0:", s.Port)}
			if t.Stage() >= 3 && haveIPv6() {
				want = []string{fmt.Sprint("[::]:", s.Port)} // the same with one socket and with two
			}
			for _, addr := range want {
				if !strings.Contains(s.Start, addr) {
					t.Errorf("the start line %q does not name %s", s.Start, addr)
				}
			}
			if t.Stage() < 3 && strings.Contains(s.Start, "[::]") {
				t.Errorf("the start line %q names an address on which the server does not listen", s.Start)
			}
			if err := suite.Healthy(s); err != nil {
				t.Errorf("%v", err)
			}
			t.Eventually("the request is in the log", func() bool { return strings.Contains(s.Stdout.String(), "/healthz") })
			if out := s.Stdout.String(); strings.Count(out, "\n") != 2 {
				t.Errorf("want the start line and one line of the access log on stdout, got:%s", process.Indent(out))
			}

			// A line end in the name of the root does not split the start line.
			odd := t.Folder(map[string]string{"two\nlines/plain.txt": "plain"})
			s = t.Begin(Config{Root: odd.Path("two\nlines"), Flags: []string{"-s"}, Env: account})
			if err := suite.Healthy(s); err != nil {
				t.Errorf("%v", err)
			}
			if err := s.Stop(); err != nil {
				t.Errorf("%v", err)
			}
			if out := s.Stdout.String(); strings.Count(out, "\n") != 2 { // the start and the stop
				t.Errorf("a root with a line end in its name: want one line at the start and one at the stop, got:%s", process.Indent(out))
			}
		}},
		{Name: "start-line-open", IDs: []string{"start-line-open"}, NoServer: true, Run: func(t *T) {
			flags := [][]string{nil}
			if t.Stage() >= 3 && haveIPv6() {
				for _, bind := range []string{"dual", "separate", "4", "6"} {
					flags = append(flags, []string{"--bind", bind})
				}
			}
			for _, flags := range flags {
				s := t.Begin(Config{Flags: flags})
				m := regexp.MustCompile(`\bopen http://(127\.0\.0\.1|\[::1\]|localhost):(\d+)/(?:[;,. ]|$)`).FindStringSubmatch(s.Start)
				if m == nil || m[2] != strconv.Itoa(s.Port) {
					t.Errorf("%q: it starts with %q, want a URL to open in it", flags, s.Start)
					continue
				}
				// A browser takes localhost for both loopback addresses (RFC 6761 §6.3).
				t.DialTo(s, DialOptions{IPv6: m[1] == "[::1]"}).Request("GET", "/healthz").WantBody(200, "ok")
			}
		}},
		{Name: "start-accepts", IDs: []string{"start-accepts"}, NoServer: true, Run: func(t *T) {
			// A busy machine may explain one slow start, but not four.
			var took time.Duration
			for range 4 {
				port := t.FreePort()
				start := time.Now()
				s := t.Begin(Config{Port: port})
				t.DialTo(s, DialOptions{}).Request("GET", "/healthz").WantBody(200, "ok") // a connection proves nothing: the kernel makes it before accept
				if took = time.Since(start); took < time.Second {
					return
				}
			}
			t.Errorf("the first response comes %v after the start, want less than 1 s", took)
		}},
		{Name: "start-port-in-use", IDs: []string{"start-port-in-use"}, NoServer: true, Run: func(t *T) {
			l, err := net.Listen("tcp4", "0.0.0.0:0")
			if err != nil {
				t.Fatalf("%v", err)
			}
			defer func() { _ = l.Close() }()
			port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
			refusedStart(t, 1, []string{"-p", port, "-R", t.Root.Dir}, port)

			s := t.Begin(Config{})
			refusedStart(t, 1, []string{"-p", strconv.Itoa(s.Port), "-R", t.Root.Dir}, strconv.Itoa(s.Port))
			if err := suite.Healthy(s); err != nil {
				t.Errorf("the first of two servers on one port: %v", err)
			}
		}},
		{Name: "start-bad-root", IDs: []string{"start-bad-root"}, NoServer: true, Run: func(t *T) {
			refusedStart(t, 1, []string{"-p", "0", "-R", t.Root.Path("plain.txt")}, t.Root.Path("plain.txt"))
			refusedStart(t, 1, []string{"-p", "0", "-R", t.Root.Path("nothing-there")}, t.Root.Path("nothing-there"))
			refusedStart(t, 1, []string{"-p", "0", "-R", t.Root.Path("fifo")}, t.Root.Path("fifo"))
		}},
		{Name: "start-unreadable-root", IDs: []string{"start-bad-root"}, NoServer: true, Run: func(t *T) {
			wrap, ok := withoutPrivileges(t)
			if !ok {
				t.Logf("root cannot give up its right to read everything: nothing to see")
				return
			}
			r := t.Folder(map[string]string{"folder/index.html": "x"})
			folder := r.Path("folder")
			t.OnEnd(func() { _ = os.Chmod(folder, 0o755) }) // so that it can be removed
			for _, mode := range []os.FileMode{0, 0o311, 0o644} {
				t.Must(os.Chmod(folder, mode))
				status, stdout, stderr, err := t.Program.Exec(Config{Wrap: wrap}, "-p", "0", "-R", folder)
				t.Must(err)
				if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, folder) ||
					!strings.Contains(stderr, "read") {
					t.Errorf("a root with the mode %04o: exit status %d, want 1 and one line on stderr that names it and says what to do%s%s",
						mode, status, process.Indent(stdout), process.Indent(stderr))
				}
			}
		}},
	}
}

// workers reports whether a start line names n workers, threads or loops.
func workers(start string, n int) bool {
	const noun = `(?:workers?|threads?|(?:event )?loops?)`
	return regexp.MustCompile(fmt.Sprintf(`(?i)\b%d %s\b|\b%s[ =:]*%d\b`, n, noun, noun, n)).MatchString(start)
}

// bind returns a case for one mode of --bind. The values all mean this mode; "" leaves the flag out.
// sockets is the number of listening sockets that the server must have; 0 allows any number. four and
// six say which families it must serve.
func bind(sockets int, four, six bool, values ...string) func(*T) {
	return func(t *T) {
		if !haveIPv6() {
			t.Logf("skipped: this machine has no IPv6")
			return
		}
		for _, value := range values {
			var flags []string
			if value != "" {
				flags = []string{"--bind", value}
			}
			s := t.Begin(Config{Flags: flags})
			for _, family := range []struct {
				want bool
				o    DialOptions
				addr string
			}{{four, DialOptions{}, "0.0.0.0"}, {six, DialOptions{IPv6: true}, "[::]"}} {
				conn, err := s.Dial(family.o)
				if err == nil {
					_ = conn.Close()
				}
				if (err == nil) != family.want {
					t.Errorf("%q: a connection to %s: error %v, want success: %t", flags, family.addr, err, family.want)
				}
				// A single socket for both families appears in the start line as one address.
				if named := strings.Contains(s.Start, fmt.Sprint(family.addr, ":", s.Port)); named && !family.want ||
					!named && family.want && sockets == 2 {
					t.Errorf("%q: the start line is %q, want %s in it: %t", flags, s.Start, family.addr, family.want)
				}
			}
			if sockets > 0 && s.OwnSockets != sockets {
				t.Errorf("%q: %d listening sockets, want %d", flags, s.OwnSockets, sockets)
			}
		}
	}
}

// tokenLife returns a case for a server whose tokens live for this number of seconds.
func tokenLife(seconds int64) func(*T) {
	return func(t *T) {
		resp := t.Dial().Post("/api/login", credentials).Want(200)
		var claims struct{ Iat, Exp int64 }
		if err := json.Unmarshal(resp.Body, &claims); err != nil || claims.Exp-claims.Iat != seconds {
			t.Errorf("the claims of the token are %s, want a life of %d s", resp.Body, seconds)
		}
		if cookie := resp.Get("Set-Cookie"); !strings.Contains(cookie, fmt.Sprintf("Max-Age=%d;", seconds)) {
			t.Errorf("Set-Cookie: %s, want a Max-Age of %d", cookie, seconds)
		}
	}
}

// loggedIn logs in and returns the cookie, as a client sends it back.
func loggedIn(t *T, s *Server) string {
	t.Helper()
	c := t.DialTo(s, DialOptions{})
	defer c.Close()
	cookie, _, _ := strings.Cut(c.Post("/api/login", credentials).Want(200).Get("Set-Cookie"), ";")
	return cookie
}

// refusedFlag runs the program with a bad command line. The program must exit with status 2 and
// print one line that has the text name and matches pattern, unless pattern is empty.
func refusedFlag(t *T, args []string, name, pattern string) {
	t.Helper()
	stderr := refusedStart(t, 2, args, strings.TrimLeft(name, "-"))
	if pattern != "" && !regexp.MustCompile(pattern).MatchString(stderr) {
		t.Errorf("%q: %q does not match %s", args, stderr, pattern)
	}
}

// refusedStart runs the program with a command line with which it cannot start. The program must
// print one line on stderr that has the text name; refusedStart returns this line.
func refusedStart(t *T, want int, args []string, name string) string {
	t.Helper()
	status, stdout, stderr := t.Exec(args...)
	switch {
	case status == -1:
		t.Errorf("%q: the program does not exit", args)
	case status != want:
		t.Errorf("%q: exit status %d, want %d", args, status, want)
	}
	if stdout != "" {
		t.Errorf("%q: want nothing on stdout, got:%s", args, process.Indent(stdout))
	}
	if strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") || !strings.Contains(stderr, name) {
		t.Errorf("%q: want one line on stderr that names %s, got:%s", args, name, process.Indent(stderr))
	}
	return stderr
}

// deferAccept connects a silent client and then one that sends a request. When the second has its
// response, the acceptor has accepted every client that it was shown.
func deferAccept(t *T) {
	for _, flags := range [][]string{nil, {"--defer-accept"}} {
		s := t.Begin(Config{Flags: flags})
		var silent *Client
		for late := true; late; { // on a busy machine a second may pass before the look
			begin := time.Now()
			silent = t.DialTo(s, DialOptions{})
			c := t.DialTo(s, DialOptions{})
			c.Request("GET", "/healthz").WantBody(200, "ok")
			n, want := s.Connections(), 2-len(flags)
			if late = time.Since(begin) > 500*time.Millisecond; !late && n != want {
				t.Errorf("%q: %d connections are open, want %d: a client that has sent nothing, and one with a response", flags, n, want)
			}
			c.Close()
			if late {
				silent.Request("GET", "/healthz").WantBody(200, "ok")
				silent.Close()
			}
			t.Eventually("closed connections are gone", func() bool { return s.Connections() <= 1 })
		}
		if len(flags) > 0 { // in the end, the client is accepted although it sends nothing
			t.Eventually("a client that sends nothing is accepted", func() bool { return s.Connections() == 1 })
		}
		silent.Request("GET", "/healthz").WantBody(200, "ok")
	}
}

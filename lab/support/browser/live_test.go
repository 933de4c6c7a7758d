package browser

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/lab/support/slow"
)

// TestSlowLive opens the page of `lab live` at two widths. Each time it presses every button, does every experiment, looks
// at the page in its light and its dark colours, compares what it says with /proc and with ss, and checks that no
// process is left in the end.
func TestSlowLive(t *testing.T) {
	slow.Test(t)
	chromium := findChromium(t)
	lab := buildLab(t)
	ctx := startChromium(t, t.Context(), chromium)
	for i, row := range []struct {
		width  int64
		scheme string
		signal syscall.Signal // ends lab
	}{
		{1280, "light", syscall.SIGINT},
		{360, "dark", syscall.SIGKILL},
	} {
		t.Run(fmt.Sprint(row.width), func(t *testing.T) {
			t.Parallel()
			l := startLive(t, lab, row.signal)
			p := open(t, ctx, l.base)
			p.do("size and colours", chromedp.EmulateViewport(row.width, 800), scheme(row.scheme))
			p.visit("/")
			v := &livePage{page: p, live: l, owned: map[string]string{}}
			v.frontPage()
			l.pids = v.snapshot().pids()
			v.everyKind()
			v.oneStage(1 + 3*i)
			v.keyboard()
			v.pitfall()
			for _, e := range liveExperiments {
				v.experiment(e)
			}
			v.hangUpAll()
			p.reportErrors()
		})
	}
}

// buildLab builds the lab.
func buildLab(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), compile)
	defer cancel()
	path := filepath.Join(t.TempDir(), "lab")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, ".")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build in lab: %v\n%s", err, out)
	}
	return path
}

// live is a running `lab live`.
type live struct {
	base string
	pids []int // of the servers
}

// startLive starts `lab live`. At the end of the test a signal ends it, and no server may be left.
func startLive(t *testing.T, lab string, signal syscall.Signal) *live {
	t.Helper()
	cmd := exec.Command(lab, "live", "--port", "0", "--patience", "1s")
	cmd.Dir = "../../.."
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // SIGKILL leaves its files there
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	l := &live{}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(signal)
		err := cmd.Wait()
		if signal != syscall.SIGKILL && err != nil {
			t.Errorf("lab live ends with %v after %v", err, signal)
		}
		gone := func() bool {
			for _, pid := range l.pids {
				if state := kernel.Stat(fmt.Sprintf("/proc/%d/stat", pid)); len(state) > 0 && state[0] != "Z" {
					return false
				}
			}
			return true
		}
		if !kernel.Eventually(process.Patience, gone) || len(l.pids) != 4 {
			t.Errorf("after %v the servers %v are still there", signal, l.pids)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	_, address, found := strings.Cut(line, "http://")
	address, _, _ = strings.Cut(address, "/")
	if err != nil || !found {
		t.Fatalf("lab live says %q, %v", line, err)
	}
	l.base = "http://" + address
	return l
}

// scheme makes the page light or dark.
func scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	})
}

// livePage is a tab with the page of `lab live`.
type livePage struct {
	*page
	live  *live
	owned map[string]string // the client's letter, by "stage:port of its end"
}

// eval returns the value of a JavaScript expression.
func eval[T any](v *livePage, expression string) T {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		v.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// frontPage checks what the page shows before there is a client.
func (v *livePage) frontPage() {
	v.t.Helper()
	v.do("front page",
		until(`document.querySelectorAll("#stages article").length === 4`),
		until(`[...document.querySelectorAll(".verdict")].filter((e) => e.innerText === "answered").length === 4`),
		until(`document.querySelectorAll("#kinds button").length === 7`),
		until(`document.querySelectorAll("#experiments button").length === 5`),
		gone("#clients"), gone("#error"),
		until(`document.querySelectorAll("#stage-2 .threads li").length === 5`), // four threads and the acceptor
		says("#stage-2 .threads", "free"),
		says("#stage-4 .threads", "loop 2"),
	)
	v.layout()
}

// layout checks that nothing is wider than the window, and that every text stands out from its background, light or dark.
func (v *livePage) layout() {
	v.t.Helper()
	if wide := eval[int](v, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
		v.t.Errorf("the page is %d pixels wider than the window", wide)
	}
	for _, name := range []string{"dark", "light"} {
		v.do(name, scheme(name))
		for _, bad := range eval[[]string](v, lowContrast) {
			v.t.Errorf("%s: %s", name, bad)
		}
	}
}

// lowContrast lists the texts whose contrast is below 4.5, as WCAG 2.2 asks for in 1.4.3.
const lowContrast = `(() => {
	const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
	const rgb = (colour) => { // of any notation
		canvas.clearRect(0, 0, 1, 1);
		canvas.fillStyle = colour;
		canvas.fillRect(0, 0, 1, 1);
		return [...canvas.getImageData(0, 0, 1, 1).data];
	};
	const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
		.reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
	const found = [];
	for (const e of document.body.querySelectorAll("*")) {
		if (!e.checkVisibility() || e.disabled || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
		let under = e;
		while (under && rgb(getComputedStyle(under).backgroundColor)[3] < 255) under = under.parentElement;
		const [a, b] = [light(rgb(getComputedStyle(e).color)), light(rgb(getComputedStyle(under ?? document.body).backgroundColor))];
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) found.push("contrast " + ratio.toFixed(2) + ": " + e.tagName + " " + e.className + " " + e.innerText.slice(0, 40));
	}
	return found;
})()`

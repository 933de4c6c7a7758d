package browser

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chromedp/chromedp"
)

// private is a page that needs a token.
const private = "/private/hello.html"

// frontPage opens the start page. It shows the stage, the login form, the load of the machine
// and the videos.
func (p *page) frontPage(stage int) {
	p.t.Helper()
	if status := p.visit("/"); status != 200 {
		p.t.Fatalf("GET /: %d", status)
	}
	p.do("start page",
		says("#server", fmt.Sprintf("stage%d-", stage)),
		visible(fmt.Sprintf(`[data-stage="%d"][aria-current=true]`, stage)),
		visible("#login"),
		gone("#claims"),
		until(`/\d/.test(document.querySelector("#load").innerText)`),
		until(`/\d/.test(document.querySelector("#memory").innerText)`),
		visible("#video"),
		says("#list", sample),
		gone(".error"),
	)
}

// oneConnection checks that the responses for some paths came on one connection. The page makes its requests one after
// another, because stage 1 serves only one connection at a time.
func (p *page) oneConnection(paths ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	used := make(map[float64][]string)
	for _, answer := range p.answers {
		if at := path(answer.URL); slices.Contains(paths, at) {
			used[answer.ConnectionID] = append(used[answer.ConnectionID], at)
		}
	}
	if len(used) != 1 {
		p.t.Errorf("%q came on %d connections, want one: %v", paths, len(used), used)
	}
}

// wrongPassword logs in with a wrong password, and checks that the page shows the error.
func (p *page) wrongPassword() {
	p.t.Helper()
	p.expect403("/api/login", true)
	p.do("wrong password",
		enter("#login [name=username]", name),
		enter("#login [name=password]", "not this one"),
		click("#login button"),
		says("#account-error", "wrong name or password"),
		visible("#login"),
		gone("#claims"),
	)
	p.expect403("/api/login", false)
	p.expect403(private, true)
	if status := p.visit(private); status != 403 {
		p.t.Errorf("GET %s after a wrong password: %d", private, status)
	}
	p.expect403(private, false)
	p.visit("/")
}

// logIn logs in, and checks that the page shows the claims of the token, also after a reload.
func (p *page) logIn() {
	p.t.Helper()
	claims := chromedp.Steps(
		visible("#claims"),
		gone("#login"),
		gone("#account-error"),
		says("#sub", name),
		until(`Date.parse(document.querySelector("#exp").innerText) > Date.parse(document.querySelector("#iat").innerText)`),
	)
	p.do("log in",
		enter("#login [name=username]", name),
		enter("#login [name=password]", password+"\r"), // Return submits the form
		claims,
		chromedp.Reload(),
		claims,
	)
}

// privatePage opens the private page and returns, both by a link.
func (p *page) privatePage() {
	p.t.Helper()
	if status := p.follow(strings.TrimPrefix(private, "/")); status != 200 {
		p.t.Errorf("the private page: %d", status)
	}
	p.do("private page", says("h1", "A private page"))
	p.follow("/")
	p.do("back on the start page", visible("#claims"))
}

// video plays a video, and seeks in it.
func (p *page) video() {
	p.t.Helper()
	p.do("video",
		visible("#video"),
		until(`document.querySelector("#video").getAttribute("src").endsWith("`+sample+`")`),
		click(`[data-jump="0.5"]`),
		at(10),
		run(`video.play()`),
		until(`video.currentTime > 10.2 && !video.paused && video.getVideoPlaybackQuality().totalVideoFrames > 0`),
		click(`[data-jump="0.25"]`),
		until(`!video.seeking && video.readyState >= 2 && video.currentTime > 5.2 && video.currentTime < 9`),
		run(`video.pause()`),
		click(`[data-jump="0.75"]`),
		at(15),
		click("#range"),
		says("#range-answer", "206, Content-Range: bytes 1000-1099/"),
		says("#range-answer", "100 bytes"),
		gone("#videos-error"),
	)
	if !p.ranged(sample, 0) {
		p.t.Errorf("no 206 for %s", sample)
	}
}

// farVideo checks that the browser requests a range to seek past the hole; see site.
func (p *page) farVideo() {
	p.t.Helper()
	p.do("far video",
		chromedp.Click(chromedp.Search(fmt.Sprintf(`//ul[@id="list"]//button[.=%q]`, far))),
		click(`[data-jump="0.75"]`),
		at(15),
		run(`video.play()`),
		until(`video.currentTime > 15.2`),
		run(`video.pause()`),
		gone("#videos-error"),
	)
	if !p.ranged(far, gap) {
		p.t.Errorf("no 206 for a range after the first %d bytes of %s", gap, far)
	}
}

// logOut logs out, and checks that the page hides the claims and that the private page is refused.
func (p *page) logOut() {
	p.t.Helper()
	p.do("log out",
		click("#logout"),
		visible("#login"),
		gone("#claims"),
	)
	p.expect403(private, true)
	if status := p.visit(private); status != 403 {
		p.t.Errorf("GET %s after logging out: %d", private, status)
	}
	p.do("refused", says("body", "log in first"))
}

// at waits until the video is at a time and shows its picture: readyState 2 is HAVE_CURRENT_DATA.
func at(seconds float64) chromedp.Action[chromedp.Void] {
	return until(fmt.Sprintf(`!video.seeking && video.readyState >= 2 && Math.abs(video.currentTime-%g) < 0.05`, seconds))
}

// run runs a script on the page. The script can use the name video because browsers define a global variable for each
// element with an id.
func run(script string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](script)
}

// ranged reports whether a 206 for name arrived with a range that begins at first or later.
func (p *page) ranged(name string, first int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, answer := range p.answers {
		if answer.Status != 206 || path(answer.URL) != "/"+name {
			continue
		}
		for field, value := range answer.Headers {
			var from, to, size int64
			if !strings.EqualFold(field, "Content-Range") {
				continue
			}
			if _, err := fmt.Sscanf(fmt.Sprint(value), "bytes %d-%d/%d", &from, &to, &size); err == nil && from >= first {
				return true
			}
		}
	}
	return false
}

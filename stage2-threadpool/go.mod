module fourways.example/stage2-threadpool

go 1.26.0

require (
	fourways.example/common v0.0.0
	golang.org/x/sys v0.49.0
)

require github.com/golang-jwt/jwt/v5 v5.3.1 // indirect

replace fourways.example/common => ../common

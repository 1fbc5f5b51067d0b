module countersign.example/checker/receiptcheck

go 1.26.0

require (
	filippo.io/torchwood v0.9.1-0.20260706112420-c22a68158d96
	golang.org/x/mod v0.42.0
)

require (
	filippo.io/mldsa v0.0.0-20260215214346-43d0283efc3e // indirect
	golang.org/x/crypto v0.53.0 // indirect
	golang.org/x/sync v0.21.0 // indirect
)

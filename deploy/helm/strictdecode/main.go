// Reads Kubernetes manifests from standard input and fails at a field that Kubernetes does not
// know, which `helm lint` and `helm template` let pass.
package main

import (
	"fmt"
	"io"
	"os"
	"regexp"

	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
)

func main() {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	content, decoded := regexp.MustCompile(`(?m)^[^#\s]`), 0
	for _, document := range regexp.MustCompile(`(?m)^---.*$`).Split(string(input), -1) {
		if !content.MatchString(document) {
			continue
		}
		if _, kind, err := decoder.Decode([]byte(document), nil, nil); err != nil {
			fmt.Fprintln(os.Stderr, kind, err)
			os.Exit(1)
		}
		decoded++
	}
	if decoded == 0 {
		fmt.Fprintln(os.Stderr, "no manifest")
		os.Exit(1)
	}
}

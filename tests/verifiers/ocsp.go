// Asks the OCSP responder that a certificate names, as Go's library does it, and prints "good" or "revoked".
// Arguments: the certificate and its issuer, PEM; the word sha1 or sha256; GET or POST.
package main

import (
	"bytes"
	"crypto"
	_ "crypto/sha1"
	_ "crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"golang.org/x/crypto/ocsp"
)

func certificate(path string) *x509.Certificate {
	text, err := os.ReadFile(path)
	check(err)
	block, _ := pem.Decode(text)
	parsed, err := x509.ParseCertificate(block.Bytes)
	check(err)
	return parsed
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	leaf, issuer := certificate(os.Args[1]), certificate(os.Args[2])
	hash := map[string]crypto.Hash{"sha1": crypto.SHA1, "sha256": crypto.SHA256}[os.Args[3]]
	request, err := ocsp.CreateRequest(leaf, issuer, &ocsp.RequestOptions{Hash: hash})
	check(err)
	var answer *http.Response
	if os.Args[4] == "GET" {
		answer, err = http.Get(leaf.OCSPServer[0] + "/" + url.QueryEscape(base64.StdEncoding.EncodeToString(request)))
	} else {
		answer, err = http.Post(leaf.OCSPServer[0], "application/ocsp-request", bytes.NewReader(request))
	}
	check(err)
	body, err := io.ReadAll(answer.Body)
	check(err)
	response, err := ocsp.ParseResponse(body, issuer)
	check(err)
	if response.SerialNumber.Cmp(leaf.SerialNumber) != 0 {
		check(fmt.Errorf("about another certificate"))
	}
	switch response.Status {
	case ocsp.Good:
		fmt.Println("good")
	case ocsp.Revoked:
		fmt.Println("revoked", response.RevocationReason)
	default:
		fmt.Println("unknown")
	}
}

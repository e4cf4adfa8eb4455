// Package identity says who is calling a service behind a Sallyport gateway: the part to copy.
//
// It believes the assertion in X-Identity-Token and nothing else, and needs nothing but the standard library.
// packages/identity/README.md says what each claim is.
package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

const (
	typ    = "identity+jwt"
	issuer = "sallyport-gateway"
	leeway = 5 // seconds by which clocks may differ
)

// Verifier checks assertions for one service.
type Verifier struct {
	keys     []publicKey
	audience string
	now      func() time.Time
}

// publicKey has the one algorithm that the key may be used with, so that no token chooses how it is checked.
type publicKey struct {
	algorithm string
	isSigned  func(content, signature []byte) bool
}

// NewVerifier takes the gateway's public key in PEM, several in one text while it is being replaced, and the name by which
// the gateway's route knows this service.
func NewVerifier(publicKeys, audience string) (*Verifier, error) {
	v := &Verifier{audience: audience, now: time.Now}
	for block, rest := pem.Decode([]byte(publicKeys)); block != nil; block, rest = pem.Decode(rest) {
		key, err := readKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		v.keys = append(v.keys, key)
	}
	if len(v.keys) == 0 || audience == "" {
		return nil, errors.New("set IDENTITY_PUBLIC_KEY to the gateway's public key in PEM, and name an audience")
	}
	return v, nil
}

func readKey(der []byte) (publicKey, error) {
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return publicKey{}, fmt.Errorf("the public key cannot be read: %w", err)
	}
	switch key := parsed.(type) {
	case ed25519.PublicKey:
		return publicKey{"EdDSA", func(content, signature []byte) bool {
			return ed25519.Verify(key, content, signature)
		}}, nil
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return publicKey{"ES256", func(content, signature []byte) bool {
				// The two numbers side by side (RFC 7518 section 3.4), and no ASN.1.
				if len(signature) != 64 {
					return false
				}
				r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
				hash := sha256.Sum256(content)
				return ecdsa.Verify(key, hash[:], r, s)
			}}, nil
		}
	case *rsa.PublicKey:
		if key.N.BitLen() >= 2048 {
			return publicKey{"RS256", func(content, signature []byte) bool {
				hash := sha256.Sum256(content)
				return rsa.VerifyPKCS1v15(key, crypto.SHA256, hash[:], signature) == nil
			}}, nil
		}
	}
	return publicKey{}, errors.New("the key must be EC P-256, Ed25519, or RSA of at least 2048 bits")
}

// Verify says who is calling, or why the assertion is invalid.
func (v *Verifier) Verify(token string) (*Identity, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("not a JWT")
	}
	header, err := readObject(parts[0])
	if err != nil {
		return nil, err
	}
	// The gateway writes these three. Whatever else there is (jwk, crit, b64) exists to change the check.
	for name := range header {
		if name != "alg" && name != "typ" && name != "kid" {
			return nil, errors.New("another header than the gateway's")
		}
	}
	if header["typ"] != typ {
		return nil, errors.New("not an identity assertion")
	}
	signature, err := decode(parts[2])
	if err != nil {
		return nil, err
	}
	if !v.isSigned(header["alg"], parts[0]+"."+parts[1], signature) {
		return nil, errors.New("not signed by the gateway")
	}
	claims, err := readObject(parts[1])
	if err != nil {
		return nil, err
	}
	if claims["iss"] != issuer || !v.isFor(claims["aud"]) {
		return nil, errors.New("not by the gateway, or not for this service")
	}
	if !v.isCurrent(claims) {
		return nil, errors.New("not valid at this time")
	}
	return identityFrom(claims)
}

func (v *Verifier) isSigned(algorithm any, content string, signature []byte) bool {
	for _, key := range v.keys {
		if key.algorithm == algorithm && key.isSigned([]byte(content), signature) {
			return true
		}
	}
	return false
}

// isFor takes an audience by itself or in a list (RFC 7519 section 4.1.3).
func (v *Verifier) isFor(audience any) bool {
	if list, isList := texts(audience); isList {
		for _, one := range list {
			if one == v.audience {
				return true
			}
		}
	}
	return audience == v.audience
}

func (v *Verifier) isCurrent(claims map[string]any) bool {
	now := float64(v.now().UnixMilli()) / 1000
	exp, expires := seconds(claims["exp"])
	_, isIssued := seconds(claims["iat"])
	if !expires || !isIssued || now > exp+leeway {
		return false
	}
	nbf, isTime := seconds(claims["nbf"])
	return !has(claims, "nbf") || isTime && now >= nbf-leeway
}

// readObject keeps names in their own case, in which a struct would take "EXP" for "exp".
func readObject(part string) (object map[string]any, err error) {
	data, err := decode(part)
	if err == nil {
		err = json.Unmarshal(data, &object)
	}
	return object, err
}

// decode takes the one spelling that bytes have in base64url (RFC 4648 section 3.5).
func decode(part string) ([]byte, error) {
	return base64.RawURLEncoding.Strict().DecodeString(part)
}

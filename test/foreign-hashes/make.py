#!/usr/bin/python3
"""Makes the vectors of hashes.test.ts: 1,000 a format, by the libraries that other systems hash with.

    apt-get install python3-bcrypt python3-passlib python3-argon2
    /usr/bin/python3 test/foreign-hashes/make.py [folder] [count]

Salts are random, so that each run makes others. Costs are low where a library lets them be: what they do is the same.
"""
import gzip, json, pathlib, random, sys, unicodedata
import argon2, bcrypt
from passlib.hash import ldap_salted_sha1, ldap_salted_sha256, ldap_salted_sha512
from passlib.hash import pbkdf2_sha1, pbkdf2_sha256, pbkdf2_sha512, phpass, scrypt

folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
count = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
draw = random.Random(2026)

alphabets = [
    'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789',
    ''.join(map(chr, range(32, 127))),
    'äöüßéèñçøåłžИванпарольπαράδειγμα密码パスワード',
    '🔑🐎🔋📎é́ﬁ²',
]


def password(index):
    length = 1 if index % 50 == 1 else 200 if index % 50 == 2 else draw.randint(6, 40)
    text = ''.join(draw.choice(alphabets[index % len(alphabets)]) for _ in range(length))
    return unicodedata.normalize('NFD' if index % 7 == 3 else 'NFC', text)


def by_bcrypt(text, index):
    kind = [b'2b', b'2a'][index % 2]
    made = bcrypt.hashpw(text.encode(), bcrypt.gensalt(4 + index % 3 if index % 100 else 10, kind)).decode()
    # PHP's name for the same.
    return made.replace('$2b$', '$2y$') if index % 4 == 2 else made


kinds = [argon2.Type.ID, argon2.Type.I, argon2.Type.D]
formats = {
    'bcrypt': by_bcrypt,
    'argon2': lambda text, index: argon2.PasswordHasher(
        time_cost=1 + index % 4, memory_cost=[64, 1024, 7168, 19456][index % 4], parallelism=1 + index % 3,
        hash_len=[16, 32, 64][index % 3], type=kinds[index % 3]).hash(text),
    'scrypt': lambda text, index: scrypt.using(
        rounds=4 + index % 9, block_size=[1, 8, 16][index % 3], parallelism=1 + index % 2).hash(text),
    'pbkdf2': lambda text, index: [pbkdf2_sha1, pbkdf2_sha256, pbkdf2_sha512][index % 3].using(
        rounds=1 + index, salt_size=[8, 16, 32][index % 3]).hash(text),
    'phpass': lambda text, index: phpass.using(rounds=7 + index % 6, ident='PH'[index % 2]).hash(text),
    'ssha': lambda text, index: [ldap_salted_sha1, ldap_salted_sha256, ldap_salted_sha512][index % 3].using(
        salt_size=[4, 8, 16][index % 3]).hash(text),
}
for name, make in formats.items():
    with gzip.GzipFile(folder / f'{name}.ndjson.gz', 'wb', mtime=0) as file:
        for index in range(count):
            text = password(index)
            file.write((json.dumps({'password': text, 'stored': make(text, index)}, ensure_ascii=False) + '\n').encode())

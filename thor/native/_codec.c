/* The native codec: heads and chunks of HTTP/1.1 that are plain.
 *
 * Owns: the quick reading and writing of what nearly every message is. Must not know errors: each
 * function gives exactly what its twin in thor/http/wire would give, or None, and upon None the
 * twin does all of the work. What is right, what is wrong and how it is called is thus said once,
 * in Python; a message that is not plain costs the little that was looked at here.
 *
 * Theory of operation: a head is read once, from left to right, into spans of the caller's bytes;
 * nothing of Python's is made before all of it was found plain, so that giving up needs no
 * cleaning up. A field name is looked up, in any case, among the names that most messages use:
 * those are given as the same objects each time. In a value only control octets matter, and eight
 * octets are asked for them at once. A HTAB is one of them: it is allowed, rare, and left to the
 * twin, as are folds, empty lines before a message, and fields that ask for more than to be passed
 * on.
 *
 * The bytes come from a peer that may mean ill. Every pointer is compared with the end before it
 * is followed; sizes that a message declares are numbers, never sizes of memory; spans are counted
 * and on the stack. What a span points into cannot change under it: it is `bytes` that the caller
 * holds, or it has been copied before anything is made that may run the collector.
 *
 * Only the stable ABI of CPython 3.11 is used, so that one build serves all later versions.
 */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>

typedef unsigned char octet;

#define MAX_FIELDS 128     /* of a plain message, however many the caller allows */
#define MAX_DIGITS 18      /* of a plain Content-Length: far from overflowing 64 bits */
#define MAX_HEX_DIGITS 16  /* of a chunk size, as in wire/body.py */
#define MAX_TEXT (1 << 20) /* bytes of fields that are rendered */
#define MAX_TAIL 64        /* bytes behind them: a Date and the empty line */
#define SLOTS 256          /* of the table of names: a power of two, sparsely filled */
#define MAX_KNOWN 96       /* names in it, and the longest of them */
#define MAX_KNOWN_SIZE 32
#define MAX_PARTS 14       /* of a head */

/* The framings of wire/framing.py, and of the actions in wire/writer.py the one that is needed. */
enum { NO_BODY, LENGTH, CHUNKED, UNTIL_CLOSE };
#define ACTION_HOST 5

/* What a field name means to a function here; HOP_BY_HOP: it concerns one connection. */
enum { HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE, EXPECT, TE, DATE, HOP_BY_HOP,
       PLAIN };

/* Names that most messages use; the first are the kinds above, in their order. */
static const char NAMES[] =
    "Host Content-Length Transfer-Encoding Connection Upgrade Expect TE Date Keep-Alive "
    "Accept Accept-Charset Accept-Encoding Accept-Language Accept-Ranges "
    "Access-Control-Allow-Origin Age Allow Alt-Svc Authorization Cache-Control "
    "Content-Disposition Content-Encoding Content-Language Content-Location Content-Range "
    "Content-Security-Policy Content-Type Cookie DNT ETag Expires Forwarded If-Match "
    "If-Modified-Since If-None-Match If-Range If-Unmodified-Since Last-Modified Link Location "
    "Origin Pragma Priority Proxy-Connection Range Referer Referrer-Policy Retry-After Sec-CH-UA "
    "Sec-CH-UA-Mobile Sec-CH-UA-Platform Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site "
    "Sec-Fetch-User Server Set-Cookie Strict-Transport-Security Trailer "
    "Upgrade-Insecure-Requests User-Agent Vary Via WWW-Authenticate X-Content-Type-Options "
    "X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Frame-Options X-Real-IP X-Request-ID "
    "X-Requested-With ";

/* Methods that need no look at their letters: _COMMON_METHODS in wire/head.py. */
static const char *const METHODS[] = {"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"};
#define METHODS_COUNT (sizeof(METHODS) / sizeof(METHODS[0]))

/* An octet of a token (RFC 9110 section 5.6.2) in lower case, or 0: it cannot be in one. */
#define AS_IS(c) [c] = c
#define LETTER(upper, lower) [upper] = lower, [lower] = lower
static const octet LOWER[256] = {
    AS_IS('!'), AS_IS('#'), AS_IS('$'), AS_IS('%'), AS_IS('&'), AS_IS('\''), AS_IS('*'),
    AS_IS('+'), AS_IS('-'), AS_IS('.'), AS_IS('^'), AS_IS('_'), AS_IS('`'), AS_IS('|'),
    AS_IS('~'), AS_IS('0'), AS_IS('1'), AS_IS('2'), AS_IS('3'), AS_IS('4'), AS_IS('5'),
    AS_IS('6'), AS_IS('7'), AS_IS('8'), AS_IS('9'), LETTER('A', 'a'), LETTER('B', 'b'),
    LETTER('C', 'c'), LETTER('D', 'd'), LETTER('E', 'e'), LETTER('F', 'f'), LETTER('G', 'g'),
    LETTER('H', 'h'), LETTER('I', 'i'), LETTER('J', 'j'), LETTER('K', 'k'), LETTER('L', 'l'),
    LETTER('M', 'm'), LETTER('N', 'n'), LETTER('O', 'o'), LETTER('P', 'p'), LETTER('Q', 'q'),
    LETTER('R', 'r'), LETTER('S', 's'), LETTER('T', 't'), LETTER('U', 'u'), LETTER('V', 'v'),
    LETTER('W', 'w'), LETTER('X', 'x'), LETTER('Y', 'y'), LETTER('Z', 'z'),
};

/* A name that most messages use, and the objects of its two common spellings. */
typedef struct {
    octet usual[MAX_KNOWN_SIZE], lower[MAX_KNOWN_SIZE];
    Py_ssize_t size;
    int kind;
    PyObject *as_usual, *as_lower;
} Known;

typedef struct {
    Known known[MAX_KNOWN];
    const Known *slots[SLOTS];
    PyObject *methods[METHODS_COUNT];
    PyObject *version, *status, *phrase; /* 1.1, 200, OK: what most messages say */
    PyObject *nothing;                   /* () */
    PyObject *request_head, *response_head, *outgoing_head; /* types */
} State;

/* Octets of somebody else's. */
typedef struct {
    const octet *at;
    Py_ssize_t size;
} Span;

typedef struct {
    Span name, value;
    const Known *known; /* NULL: any other name */
    PyObject *object;   /* the name's, borrowed; NULL: there is none yet */
} Field;

/* A message's fields, and what those of them say that mean something here. */
typedef struct {
    Py_ssize_t count;
    int64_t length; /* what Content-Length says; -1: there is none */
    Span host;      /* the value of Host; at NULL: there is none */
    int chunked;    /* there is Transfer-Encoding: chunked */
    int connection; /* there is a Connection, which says close, or else keep-alive */
    int close;
    int date; /* there is a Date */
    Field fields[MAX_FIELDS];
} Fields;

/* -- octets */

static PyObject *none(void) { return Py_NewRef(Py_None); }

static Span span_of(const octet *start, const octet *end) {
    Span span = {start, end - start};
    return span;
}

static PyObject *bytes_of(Span span) {
    return PyBytes_FromStringAndSize((const char *)span.at, span.size);
}

static Span span_in(PyObject *bytes) {
    Span span = {(const octet *)PyBytes_AsString(bytes), PyBytes_Size(bytes)};
    return span;
}

static int equals(Span span, const void *octets, size_t size) {
    return (size_t)span.size == size && memcmp(span.at, octets, size) == 0;
}

/* Whether a span is a token in any case, which is given in lower case. */
static int says(Span span, const void *lower, size_t size) {
    const octet *word = lower;
    size_t i = 0;
    if ((size_t)span.size != size) return 0;
    while (i < size && LOWER[span.at[i]] == word[i]) i++;
    return i == size;
}
#define SAYS(span, literal) says(span, literal, sizeof(literal) - 1)

/* Without SP at both ends. */
static Span stripped(const octet *start, const octet *end) {
    while (start < end && *start == ' ') start++;
    while (start < end && end[-1] == ' ') end--;
    return span_of(start, end);
}

/* The first control octet (0x00 to 0x1f, 0x7f) from `p` on, or `end`. */
static const octet *find_control(const octet *p, const octet *end) {
    const uint64_t ones = UINT64_MAX / 255;
    while (end - p >= 8) {
        uint64_t word, dels;
        memcpy(&word, p, 8);
        dels = word ^ (ones * 0x7f);
        /* The highest bit of an octet is borrowed if it was not set and the octet was less. */
        if ((((word - ones * 0x20) & ~word) | ((dels - ones) & ~dels)) & (ones * 0x80)) break;
        p += 8;
    }
    while (p < end && *p >= 0x20 && *p != 0x7f) p++;
    return p;
}

static int is_crlf(const octet *p, const octet *end) {
    return end - p >= 2 && p[0] == '\r' && p[1] == '\n';
}

/* The number that 1 to MAX_DIGITS digits say, or -1. */
static int64_t decimal(Span digits) {
    int64_t number = 0;
    if (digits.size < 1 || digits.size > MAX_DIGITS) return -1;
    for (Py_ssize_t i = 0; i < digits.size; i++) {
        if (digits.at[i] < '0' || digits.at[i] > '9') return -1;
        number = number * 10 + (digits.at[i] - '0');
    }
    return number;
}

/* -- names and hosts */

/* Where the token at `p` ends. */
static const octet *skip_token(const octet *p, const octet *end) {
    while (p < end && LOWER[*p]) p++;
    return p;
}

/* Where the search for a token begins; its size and three octets tell most names apart. */
static unsigned slot_of(Span name) {
    const octet *p = name.at;
    size_t size = (size_t)name.size;
    return (unsigned)(size + 3u * LOWER[p[0]] + 5u * LOWER[p[size / 2]] + 11u * LOWER[p[size - 1]]);
}

/* What is known of a token, if anything. `object`: it as spelled, borrowed, if that is usual */
static const Known *find_known(const State *state, Span name, PyObject **object) {
    const Known *known;
    *object = NULL;
    for (unsigned slot = slot_of(name); (known = state->slots[slot % SLOTS]) != NULL; slot++) {
        size_t size = (size_t)known->size;
        if (equals(name, known->usual, size))
            *object = known->as_usual;
        else if (equals(name, known->lower, size))
            *object = known->as_lower;
        else if (!says(name, known->lower, size))
            continue;
        break;
    }
    return known;
}

/* `unreserved` or one of `sub-delims` but the comma (RFC 3986 section 2). */
static int is_host_octet(octet c) {
    if (LOWER[c]) return c != '#' && c != '%' && c != '^' && c != '`' && c != '|';
    return c == '(' || c == ')' || c == ';' || c == '=';
}

/* Whether this is reg-name [":" port], nothing encoded: most of what wire/target.py lets pass. */
static int is_plain_host(Span host) {
    const octet *p = host.at, *end = host.at + host.size;
    int64_t port;
    if (p < end && *p == '.') return 0; /* an empty label, as between two dots */
    for (; p < end && is_host_octet(*p); p++)
        if (*p == '.' && p + 1 < end && p[1] == '.') return 0;
    if (p == host.at || p == end) return p != host.at;
    if (*p != ':' || end - p > 6) return 0;
    port = decimal(span_of(p + 1, end));
    return port > 0 && port < 65536;
}

/* -- objects */

/* The value of an exact int; 0 if it is none, or a large one. */
static int is_size(PyObject *object, Py_ssize_t *size) {
    if (!PyLong_CheckExact(object)) return 0;
    *size = PyLong_AsSsize_t(object);
    if (*size != -1 || !PyErr_Occurred()) return 1;
    PyErr_Clear();
    return 0;
}

/* As is_size, where None says that there is no limit. */
static int is_limit(PyObject *object, Py_ssize_t *size) {
    *size = PY_SSIZE_T_MAX;
    return Py_IsNone(object) || is_size(object, size);
}

/* A tuple of new references, which become its own; NULL if one of them could not be made. */
static PyObject *tuple_of(PyObject **items, Py_ssize_t count) {
    PyObject *tuple = NULL;
    Py_ssize_t i = 0;
    while (i < count && items[i] != NULL) i++;
    if (i == count) tuple = PyTuple_New(count);
    for (i = 0; i < count; i++) {
        if (tuple != NULL)
            PyTuple_SetItem(tuple, i, items[i]);
        else
            Py_XDECREF(items[i]);
    }
    return tuple;
}

/* -- heads: objects whose attributes are the parts */

/* A head. No collector looks at it: nothing that it refers to can refer to it, since whoever gets it
 * takes its parts and lets go of it. */
typedef struct {
    PyObject_HEAD
    PyObject *parts[MAX_PARTS]; /* as many as its type has members; NULL behind the last */
} Head;

#define PART(index, name) \
    {name, T_OBJECT_EX, offsetof(Head, parts) + (index) * sizeof(PyObject *), READONLY, NULL}

static PyMemberDef request_members[] = {
    PART(0, "method"),        PART(1, "target"),      PART(2, "version"),
    PART(3, "http11"),        PART(4, "headers"),     PART(5, "framing"),
    PART(6, "length"),        PART(7, "keep_alive"),  PART(8, "host"),
    PART(9, "head_bytes"),    PART(10, "expect_continue"), PART(11, "objection"),
    PART(12, "upgrade"),      PART(13, "te_trailers"), {0}};

static PyMemberDef response_members[] = {
    PART(0, "version"),  PART(1, "http11"),     PART(2, "status"),     PART(3, "status_code"),
    PART(4, "phrase"),   PART(5, "headers"),    PART(6, "framing"),    PART(7, "length"),
    PART(8, "keep_alive"), PART(9, "head_bytes"), PART(10, "upgrade"), {0}};

static PyMemberDef outgoing_members[] = {PART(0, "data"), PART(1, "framing"), PART(2, "length"),
                                         PART(3, "keep_alive"), {0}};

static void head_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject **parts = ((Head *)self)->parts;
    for (int i = 0; i < MAX_PARTS && parts[i] != NULL; i++) Py_DECREF(parts[i]);
    PyObject_Free(self);
    Py_DECREF(type);
}

/* A type whose objects only this file makes. */
static PyObject *head_type(PyObject *module, const char *name, PyMemberDef *members) {
    PyType_Slot slots[] = {{Py_tp_dealloc, head_dealloc}, {Py_tp_members, members}, {0}};
    PyType_Spec spec = {name, sizeof(Head), 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
    return PyType_FromModuleAndSpec(module, &spec, NULL);
}

/* A head of new references, which become its own; NULL if one of them could not be made. */
static PyObject *head_of(PyObject *type, PyObject **parts, int count) {
    Head *head = NULL;
    int i = 0;
    while (i < count && parts[i] != NULL) i++;
    if (i == count) head = PyObject_New(Head, (PyTypeObject *)type);
    for (i = 0; i < count; i++) {
        if (head != NULL)
            head->parts[i] = parts[i];
        else
            Py_XDECREF(parts[i]);
    }
    if (head != NULL && count < MAX_PARTS) head->parts[count] = NULL;
    return (PyObject *)head;
}

/* The fields as a list of (name, value). */
static PyObject *list_of(const Fields *all) {
    PyObject *list = PyList_New(all->count);
    for (Py_ssize_t i = 0; list != NULL && i < all->count; i++) {
        const Field *from = &all->fields[i];
        PyObject *name = from->object != NULL ? Py_NewRef(from->object) : bytes_of(from->name);
        PyObject *pair[] = {name, bytes_of(from->value)};
        PyObject *field = tuple_of(pair, 2);
        if (field == NULL)
            Py_CLEAR(list);
        else
            PyList_SetItem(list, i, field);
    }
    return list;
}

static void begin_fields(Fields *all) {
    all->count = 0;
    all->length = -1;
    all->host.at = NULL;
    all->host.size = 0;
    all->chunked = all->connection = all->close = all->date = 0;
}

static PyObject *wrong_count(const char *name) {
    PyErr_Format(PyExc_TypeError, "wrong number of arguments to %s", name);
    return NULL;
}

/* -- heads that arrive */

/* Limits.codec_limits of wire/limits.py. */
typedef struct {
    Py_ssize_t fields, bytes, body, start, line;
} Limits;

static int take_limits(PyObject *object, Limits *most) {
    return PyTuple_CheckExact(object) && PyTuple_Size(object) == 5 &&
           is_size(PyTuple_GetItem(object, 0), &most->fields) &&
           is_size(PyTuple_GetItem(object, 1), &most->bytes) &&
           is_limit(PyTuple_GetItem(object, 2), &most->body) &&
           is_size(PyTuple_GetItem(object, 3), &most->start) &&
           is_size(PyTuple_GetItem(object, 4), &most->line) && most->bytes >= 0;
}

/* The bytes of a buffer from an offset on, in which a head within the limits has to end. */
static int take_buffer(PyObject *buf, PyObject *start, PyObject *limits, Span *head,
                       Limits *most) {
    Py_ssize_t at;
    if (!PyBytes_CheckExact(buf) || !is_size(start, &at) || !take_limits(limits, most)) return 0;
    *head = span_in(buf);
    if (at < 0 || at > head->size) return 0;
    head->at += at;
    head->size -= at;
    if (head->size - 4 > most->bytes) head->size = most->bytes + 4; /* CRLF CRLF does not count */
    return 1;
}

/* Take note of the field that comes next; 0 if what it says is not plain. */
static int note_arriving(Fields *all, const Field *field, int request) {
    switch (field->known->kind) {
    case HOST:
        if (!request) return 1;
        if (all->host.at != NULL || !is_plain_host(field->value)) return 0;
        all->host = field->value;
        return 1;
    case CONTENT_LENGTH:
        if (all->length >= 0) return 0;
        return (all->length = decimal(field->value)) >= 0;
    case TRANSFER_ENCODING:
        if (all->chunked) return 0;
        return all->chunked = SAYS(field->value, "chunked");
    case CONNECTION:
        if (all->connection) return 0;
        all->connection = 1;
        all->close = SAYS(field->value, "close");
        return all->close || SAYS(field->value, "keep-alive");
    case EXPECT:
    case TE:
        return !request;
    default:
        return 1;
    }
}

/* Read field lines from `p` to the empty line. Returns: what follows it; NULL if not plain. */
static const octet *read_fields(const State *state, const octet *p, const octet *end,
                                const Limits *limits, Fields *all, int request) {
    Py_ssize_t most = limits->fields < MAX_FIELDS ? limits->fields : MAX_FIELDS;
    begin_fields(all);
    while (!is_crlf(p, end)) {
        Field *field = &all->fields[all->count];
        const octet *stop = skip_token(p, end);
        if (all->count >= most || stop == p || stop == end || *stop != ':') return NULL;
        field->name = span_of(p, stop);
        p = stop + 1;
        stop = find_control(p, end);
        if (!is_crlf(stop, end) || stop - field->name.at > limits->line) return NULL;
        field->value = stripped(p, stop);
        p = stop + 2;
        field->known = find_known(state, field->name, &field->object);
        if (field->known != NULL && !note_arriving(all, field, request)) return NULL;
        all->count++;
    }
    return all->chunked && all->length >= 0 ? NULL : p + 2;
}

/* A method that is known, a target in origin form, "HTTP/1.1". As read_fields. */
static const octet *read_request_line(const octet *p, const octet *end, size_t *method,
                                      Span *target) {
    size_t size = 0;
    for (*method = 0; *method < METHODS_COUNT; ++*method) {
        size = strlen(METHODS[*method]);
        if ((size_t)(end - p) > size && p[size] == ' ' && !memcmp(p, METHODS[*method], size)) break;
    }
    if (*method == METHODS_COUNT) return NULL;
    p += size + 1;
    target->at = p;
    if (p == end || *p != '/') return NULL;
    while (p < end && *p > 0x20 && *p < 0x7f && *p != '#') p++;
    target->size = p - target->at;
    return end - p >= 11 && !memcmp(p, " HTTP/1.1\r\n", 11) ? p + 11 : NULL;
}

/* (buf, at, limits): parse_request_head in wire/head.py. */
static PyObject *parse_request(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    const State *state = PyModule_GetState(module);
    if (nargs != 3) return wrong_count("parse_request");
    Span head, target;
    size_t method;
    Limits most;
    if (!take_buffer(args[0], args[1], args[2], &head, &most)) return none();
    const octet *end = head.at + head.size;
    const octet *p = read_request_line(head.at, end, &method, &target);
    Fields all;
    if (p != NULL && p - head.at - 2 > most.start) p = NULL;
    if (p != NULL) p = read_fields(state, p, end, &most, &all, 1);
    if (p == NULL || all.host.at == NULL || all.length > most.body) return none();
    int framing = all.chunked ? CHUNKED : all.length >= 0 ? LENGTH : NO_BODY;
    PyObject *parts[] = {
        Py_NewRef(state->methods[method]),
        bytes_of(target),
        Py_NewRef(state->version),
        Py_NewRef(Py_True),
        list_of(&all),
        PyLong_FromLong(framing),
        PyLong_FromLongLong(framing == LENGTH ? all.length : 0),
        PyBool_FromLong(!all.close),
        bytes_of(all.host),
        PyLong_FromSsize_t(p - head.at),
        Py_NewRef(Py_False),
        Py_NewRef(Py_False),
        Py_NewRef(state->nothing),
        Py_NewRef(Py_False),
    };
    return head_of(state->request_head, parts, sizeof(parts) / sizeof(parts[0]));
}

/* "HTTP/1.1", a final status, perhaps a phrase. As read_fields. */
static const octet *read_status_line(const octet *p, const octet *end, Span *status,
                                     Span *phrase) {
    if (end - p < 13 || memcmp(p, "HTTP/1.1 ", 9) != 0) return NULL;
    p += 9;
    *status = span_of(p, p + 3);
    if (decimal(*status) < 200 || (p[3] != ' ' && p[3] != '\r')) return NULL;
    p += p[3] == ' ' ? 4 : 3;
    const octet *stop = find_control(p, end);
    *phrase = span_of(p, stop);
    return is_crlf(stop, end) ? stop + 2 : NULL;
}

/* (buf, at, limits, method): parse_response_head in wire/head.py. */
static PyObject *parse_response(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    const State *state = PyModule_GetState(module);
    if (nargs != 4) return wrong_count("parse_response");
    Span head, status, phrase;
    Limits most;
    if (!take_buffer(args[0], args[1], args[2], &head, &most) || !PyBytes_CheckExact(args[3]))
        return none();
    Span method = span_in(args[3]);
    const octet *end = head.at + head.size;
    const octet *p = read_status_line(head.at, end, &status, &phrase);
    Fields all;
    if (p != NULL && p - head.at - 2 > most.start) p = NULL;
    if (p != NULL) p = read_fields(state, p, end, &most, &all, 0);
    if (p == NULL || equals(method, "CONNECT", 7)) return none();
    int code = (int)decimal(status);
    int framing = all.chunked ? CHUNKED : all.length >= 0 ? LENGTH : UNTIL_CLOSE;
    if (code == 204 || code == 304 || equals(method, "HEAD", 4)) framing = NO_BODY;
    PyObject *parts[] = {
        Py_NewRef(state->version),
        Py_NewRef(Py_True),
        code == 200 ? Py_NewRef(state->status) : bytes_of(status),
        PyLong_FromLong(code),
        equals(phrase, "OK", 2) ? Py_NewRef(state->phrase) : bytes_of(phrase),
        list_of(&all),
        PyLong_FromLong(framing),
        PyLong_FromLongLong(framing == LENGTH ? all.length : 0),
        PyBool_FromLong(!all.close && framing != UNTIL_CLOSE),
        PyLong_FromSsize_t(p - head.at),
        Py_NewRef(state->nothing),
    };
    return head_of(state->response_head, parts, sizeof(parts) / sizeof(parts[0]));
}

/* -- heads that are sent */

/* The octets of exact `bytes`, or of exact `str` that is ASCII. */
static int is_text(PyObject *object, Span *text) {
    if (PyBytes_CheckExact(object)) {
        *text = span_in(object);
        return 1;
    }
    if (!PyUnicode_CheckExact(object)) return 0;
    text->at = (const octet *)PyUnicode_AsUTF8AndSize(object, &text->size);
    if (text->at != NULL) return text->size == PyUnicode_GetLength(object);
    PyErr_Clear(); /* a lone surrogate, or no memory: the twin says which */
    return 0;
}

/* What a program passes as one field; 0 if it is not plain. */
static int take_field(const State *state, PyObject *object, Field *field) {
    if (!PyTuple_CheckExact(object) || PyTuple_Size(object) != 2) return 0;
    if (!is_text(PyTuple_GetItem(object, 0), &field->name)) return 0;
    if (!is_text(PyTuple_GetItem(object, 1), &field->value)) return 0;
    const octet *end = field->name.at + field->name.size;
    if (field->name.size == 0 || skip_token(field->name.at, end) != end) return 0;
    field->known = find_known(state, field->name, &field->object);
    end = field->value.at + field->value.size;
    field->value = stripped(field->value.at, end);
    end = field->value.at + field->value.size;
    return find_control(field->value.at, end) == end;
}

/* Take note of a field that a program passes. Returns: whether it is sent; -1 if not plain */
static int note_sent(Fields *all, const Field *field, int keep_length, int request) {
    switch (field->known == NULL ? PLAIN : field->known->kind) {
    case CONTENT_LENGTH:
        if (!keep_length) return 0;
        if (all->length >= 0) return -1;
        return (all->length = decimal(field->value)) >= 0 ? 1 : -1;
    case DATE:
        all->date = 1;
        return 1;
    case HOST:
        if (!request) return 1;
        if (all->host.at != NULL) return -1;
        all->host = field->value;
        return 0;
    case TRANSFER_ENCODING:
    case CONNECTION:
    case UPGRADE:
    case TE:
    case HOP_BY_HOP:
        return -1;
    default:
        return 1;
    }
}

static octet *put(octet *out, const void *from, Py_ssize_t size) {
    memcpy(out, from, (size_t)size);
    return out + size;
}

/* Whether it is a list, or of a kind that is iterated as one. */
static int is_plain_list(PyObject *object) {
    if (PyList_CheckExact(object)) return 1;
    return PyList_Check(object) && PyType_GetSlot(Py_TYPE(object), Py_tp_iter) ==
                                       PyType_GetSlot(&PyList_Type, Py_tp_iter);
}

/* Take the fields that a program passes, and of these the ones that are sent.
 * Returns: the size of their lines, each behind a CRLF; -1 if not all is plain */
static Py_ssize_t take_fields(const State *state, PyObject *fields, int keep_length, int request,
                              Fields *all) {
    int is_list = is_plain_list(fields);
    if (!is_list && !PyTuple_CheckExact(fields)) return -1;
    Py_ssize_t size = 0, count = is_list ? PyList_Size(fields) : PyTuple_Size(fields);
    if (count > MAX_FIELDS) return -1;
    begin_fields(all);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = is_list ? PyList_GetItem(fields, i) : PyTuple_GetItem(fields, i);
        Field *field = &all->fields[all->count];
        if (!take_field(state, item, field)) return -1;
        int sent = note_sent(all, field, keep_length, request);
        if (sent < 0 || field->name.size > MAX_TEXT || field->value.size > MAX_TEXT) return -1;
        if (!sent) continue;
        all->count++;
        size += field->name.size + field->value.size + 4;
        if (size > MAX_TEXT) return -1;
    }
    return size;
}

/* The start, the lines of the fields and the end; `size`: of these lines. */
static PyObject *join_lines(const Fields *all, Span start, Py_ssize_t size, Span end) {
    PyObject *data = PyBytes_FromStringAndSize(NULL, start.size + size + end.size);
    if (data == NULL) return NULL;
    octet *out = put((octet *)PyBytes_AsString(data), start.at, start.size);
    for (const Field *field = all->fields; field < all->fields + all->count; field++) {
        out = put(out, "\r\n", 2);
        out = put(out, field->name.at, field->name.size);
        out = put(out, ": ", 2);
        out = put(out, field->value.at, field->value.size);
    }
    put(out, end.at, end.size);
    return data;
}

/* (start, fields, keep_length, request): _render in wire/writer.py. */
static PyObject *render_fields(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    const State *state = PyModule_GetState(module);
    if (nargs != 4) return wrong_count("render_fields");
    if (!PyBytes_CheckExact(args[0])) return none();
    Span start = span_in(args[0]), nothing = {start.at, 0};
    Fields all;
    Py_ssize_t size = take_fields(state, args[1], Py_IsTrue(args[2]), Py_IsTrue(args[3]), &all);
    if (size < 0 || start.size > MAX_TEXT) return none();
    PyObject *parts[] = {join_lines(&all, start, size, nothing), PyLong_FromLongLong(all.length),
                         PyBool_FromLong(all.date), NULL};
    if (all.host.at == NULL) {
        parts[3] = Py_NewRef(state->nothing);
    } else {
        PyObject *pair[] = {PyLong_FromLong(ACTION_HOST), bytes_of(all.host)};
        PyObject *special = tuple_of(pair, 2); /* the spans may be stale from here on */
        parts[3] = tuple_of(&special, 1);
    }
    return tuple_of(parts, 4);
}

/* Whether a response with a Content-Length has that body: its status is neither informational nor
 * 204 or 304, it does not answer HEAD, and opens no tunnel. */
static int has_body(Span line, Span method) {
    if (line.size < 12 || line.at[9] < '2') return 0;
    const octet *code = line.at + 9;
    if (!memcmp(code, "204", 3) || !memcmp(code, "304", 3) || equals(method, "HEAD", 4)) return 0;
    return code[0] != '2' || !equals(method, "CONNECT", 7);
}

/* (status line, fields, method, date line): what response_head in wire/writer.py makes of them for
 * a client that speaks HTTP/1.1, on a connection that persists. */
static PyObject *render_response(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    const State *state = PyModule_GetState(module);
    if (nargs != 4) return wrong_count("render_response");
    if (!PyBytes_CheckExact(args[0]) || !PyBytes_CheckExact(args[2]) || !PyBytes_CheckExact(args[3]))
        return none();
    Span line = span_in(args[0]), date = span_in(args[3]);
    if (!has_body(line, span_in(args[2])) || line.size > MAX_TEXT) return none();
    octet tail[MAX_TAIL];
    Span end = {tail, 0};
    Fields all;
    Py_ssize_t size = take_fields(state, args[1], 1, 0, &all);
    if (size < 0 || all.length < 0 || date.size > MAX_TAIL - 4) return none();
    if (all.date) date.size = 0;
    octet *stop = put(put(tail, date.at, date.size), "\r\n\r\n", 4);
    end.size = stop - tail;
    PyObject *parts[] = {join_lines(&all, line, size, end), PyLong_FromLong(LENGTH),
                         PyLong_FromLongLong(all.length), Py_NewRef(Py_True)};
    return head_of(state->outgoing_head, parts, 4);
}

/* -- chunks */

static int hex_digit(octet c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Read a chunk that is all there: its size alone in its line, its data, a CRLF. The last chunk,
 * which has no data, is all there if no trailers follow it.
 * Returns: what follows it; NULL if it is not plain, or not all there */
static const octet *read_chunk(const octet *p, const octet *end, Span *data) {
    const octet *const start = p;
    uint64_t size = 0;
    for (int digit; p < end && (digit = hex_digit(*p)) >= 0; p++) {
        if (p - start == MAX_HEX_DIGITS) return NULL;
        size = size << 4 | (uint64_t)digit;
    }
    if (p == start || !is_crlf(p, end)) return NULL;
    p += 2;
    if (size > (uint64_t)(end - p)) return NULL;
    *data = span_of(p, p + size);
    p += size;
    return is_crlf(p, end) ? p + 2 : NULL;
}

/* (buf, at, room): as many chunks as ChunkedDecoder.decode in wire/body.py finds plain. */
static PyObject *decode_chunks(PyObject *Py_UNUSED(module), PyObject *const *args,
                               Py_ssize_t nargs) {
    if (nargs != 3) return wrong_count("decode_chunks");
    Span buf, chunk;
    if (PyBytes_CheckExact(args[0])) {
        buf = span_in(args[0]);
    } else if (PyByteArray_CheckExact(args[0])) {
        buf.at = (const octet *)PyByteArray_AsString(args[0]);
        buf.size = PyByteArray_Size(args[0]);
    } else {
        return none();
    }
    Py_ssize_t at, room, total = 0;
    if (!is_size(args[1], &at) || at < 0 || at > buf.size || !is_limit(args[2], &room))
        return none();
    const octet *p = buf.at + at, *end = buf.at + buf.size, *next;
    int done = 0;
    while (!done && (next = read_chunk(p, end, &chunk)) != NULL && chunk.size <= room - total) {
        total += chunk.size;
        done = chunk.size == 0;
        p = next;
    }
    end = p;
    p = buf.at + at;
    if (end == p) return none();
    PyObject *data = PyBytes_FromStringAndSize(NULL, total);
    octet *out = data != NULL ? (octet *)PyBytes_AsString(data) : NULL;
    for (; out != NULL && p < end; p = next) {
        next = read_chunk(p, end, &chunk);
        out = put(out, chunk.at, chunk.size);
    }
    PyObject *parts[] = {data, PyLong_FromSsize_t(end - buf.at), PyBool_FromLong(done)};
    return tuple_of(parts, 3);
}

/* -- the module */

/* Make a name's objects and put it into its slot. */
static int know_name(State *state, int index, Span name) {
    Known *known = &state->known[index];
    unsigned slot = slot_of(name);
    while (state->slots[slot % SLOTS] != NULL) slot++;
    state->slots[slot % SLOTS] = known;
    known->kind = index < PLAIN ? index : PLAIN;
    known->size = name.size;
    for (Py_ssize_t i = 0; i < name.size; i++) {
        known->usual[i] = name.at[i];
        known->lower[i] = LOWER[name.at[i]];
    }
    known->as_usual = bytes_of(name);
    known->as_lower = PyBytes_FromStringAndSize((const char *)known->lower, known->size);
    if (SAYS(name, "proxy-connection")) known->kind = HOP_BY_HOP;
    return known->as_usual != NULL && known->as_lower != NULL;
}

static int codec_exec(PyObject *module) {
    State *state = PyModule_GetState(module); /* it is all zeros */
    const char *name = NAMES, *space;
    for (int index = 0; (space = strchr(name, ' ')) != NULL; name = space + 1, index++) {
        if (index == MAX_KNOWN || space - name > MAX_KNOWN_SIZE) return -1;
        if (!know_name(state, index, span_of((const octet *)name, (const octet *)space))) return -1;
    }
    for (size_t i = 0; i < METHODS_COUNT; i++) {
        if ((state->methods[i] = PyBytes_FromString(METHODS[i])) == NULL) return -1;
    }
    state->version = PyBytes_FromString("1.1");
    state->status = PyBytes_FromString("200");
    state->phrase = PyBytes_FromString("OK");
    state->nothing = PyTuple_New(0);
    state->request_head = head_type(module, "thor.native._codec.RequestHead", request_members);
    state->response_head = head_type(module, "thor.native._codec.ResponseHead", response_members);
    state->outgoing_head = head_type(module, "thor.native._codec.OutgoingHead", outgoing_members);
    return state->version && state->status && state->phrase && state->nothing &&
                   state->request_head && state->response_head && state->outgoing_head
               ? 0
               : -1;
}

static void codec_free(void *module) {
    State *state = PyModule_GetState(module);
    if (state == NULL) return;
    for (int i = 0; i < MAX_KNOWN; i++) {
        Py_CLEAR(state->known[i].as_usual);
        Py_CLEAR(state->known[i].as_lower);
    }
    for (size_t i = 0; i < METHODS_COUNT; i++) Py_CLEAR(state->methods[i]);
    Py_CLEAR(state->version);
    Py_CLEAR(state->status);
    Py_CLEAR(state->phrase);
    Py_CLEAR(state->nothing);
    Py_CLEAR(state->request_head);
    Py_CLEAR(state->response_head);
    Py_CLEAR(state->outgoing_head);
}

#define FUNCTION(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, NULL}
static PyMethodDef codec_methods[] = {FUNCTION(parse_request), FUNCTION(parse_response),
                                      FUNCTION(render_fields), FUNCTION(render_response),
                                      FUNCTION(decode_chunks), {0}};

static PyModuleDef_Slot codec_slots[] = {{Py_mod_exec, codec_exec}, {0}};

static struct PyModuleDef codec_module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "thor.native._codec",
    .m_size = sizeof(State),
    .m_methods = codec_methods,
    .m_slots = codec_slots,
    .m_free = codec_free,
};

PyMODINIT_FUNC PyInit__codec(void) { return PyModuleDef_Init(&codec_module); }

# bakrypt-login. `make help` lists the targets; README.md says the rest.

VERSION   ?= 0.1.0
BUILD     ?= build
CFLAGS    ?= -O2 -g
PYTHON    := /usr/bin/python3
PKGCONFIG ?= pkg-config

# What each target needs from Debian 12.
BUILD_PACKAGES := gcc libc6-dev make pkg-config libfcgi-dev libcurl4-openssl-dev libcjson-dev libssl-dev libnghttp2-dev \
                  libseccomp-dev
RUN_PACKAGES   := $(BUILD_PACKAGES) python3 openssl nginx gunicorn python3-django-oauth-toolkit curl
TEST_PACKAGES  := $(RUN_PACKAGES) python3-pytest libcmocka-dev apache2-bin libapache2-mod-fcgid spawn-fcgi \
                  lighttpd caddy haproxy systemd python3-jsonschema python3-h2
LINT_PACKAGES  := $(BUILD_PACKAGES) libcmocka-dev clang-format clang-tidy cppcheck
DEB_PACKAGES   := $(BUILD_PACKAGES) build-essential debhelper
HOSTING_PACKAGES := $(BUILD_PACKAGES) dpkg-dev python3
TEST_PACKAGES  += $(DEB_PACKAGES) $(HOSTING_PACKAGES) lintian mandoc mount procps systemd ca-certificates valgrind gdb strace
TEST_PACKAGES  += chromium chromium-driver python3-selenium nodejs $(if $(shell command -v npm),,npm)
FUZZ_PACKAGES  := $(BUILD_PACKAGES) clang libclang-rt-dev llvm python3 nodejs
BENCH_PACKAGES := $(RUN_PACKAGES) libcurl4-openssl-dev libcjson-dev libfcgi-dev python3-pytest python3-matplotlib \
                  wrk libnginx-mod-http-lua lua-cjson golang-go apache2-bin nodejs valgrind strace \
                  linux-perf $(if $(shell command -v npm),,npm)

LIBRARIES := fcgi libcurl libcjson openssl libnghttp2
WARNINGS  := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
             -Wmissing-prototypes -Wvla -Wformat=2 -Wundef -Wwrite-strings
HARDENING := -fPIE -fstack-protector-strong -fstack-clash-protection -fcf-protection=full
# Debian's own flags ask for 2.
FORTIFY   := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
SANITIZER ?= address,undefined
SANITIZE  := -fsanitize=$(SANITIZER) -fno-sanitize-recover=undefined -fno-omit-frame-pointer

PROGRAM := $(BUILD)/bakrypt-login
# Run to make the program, no part of it.
FILTER  := src/sandbox_filter.c
SOURCES := $(filter-out $(FILTER),$(sort $(wildcard src/*.c)))
OBJECTS := $(SOURCES:src/%.c=$(BUILD)/%.o)
UNITS   := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/unit/test_*.c)))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
ROOMS   := $(filter-out $(BUILD)/main.o,$(OBJECTS))

# Where `make install` puts things. DESTDIR stands before all of it.
PREFIX      ?= /usr/local
BINDIR      ?= $(PREFIX)/bin
DATADIR     ?= $(PREFIX)/share
MANDIR      ?= $(DATADIR)/man
UNITDIR     ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
SYSCONFDIR  ?= /etc
NGINXDIR    ?= $(SYSCONFDIR)/nginx/snippets
APACHEDIR   ?= $(SYSCONFDIR)/apache2/conf-available

ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -DVERSION='"$(VERSION)"' $(WARNINGS) $(HARDENING) \
              $(CPPFLAGS) $(CFLAGS) $(FORTIFY) -I$(BUILD) $(shell $(PKGCONFIG) --cflags $(LIBRARIES) 2>/dev/null)
ALL_LDFLAGS := -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code -Wl,--as-needed $(CFLAGS) $(LDFLAGS)
LDLIBS      := $(shell $(PKGCONFIG) --libs $(LIBRARIES) 2>/dev/null)

ifneq ($(V),1)
quiet = @printf '  %-6s %s\n' '$(1)' '$@';
endif

all: $(PROGRAM)                 ## build build/bakrypt-login (needs a C compiler and the libraries)
	@:

run:                            ## install what is missing, build, start a sandbox on http://localhost:3000 (PORT=)
	@tests/packages.sh $(RUN_PACKAGES)
	@$(MAKE) --no-print-directory all
	@exec $(PYTHON) -B tests/run.py --binary $(PROGRAM)

test:                           ## install what is missing, build, run every test
	@tests/packages.sh $(TEST_PACKAGES)
	@$(MAKE) --no-print-directory all units
	@BAKRYPT_LOGIN_BUILD=$(BUILD) $(PYTHON) -B -m pytest -p no:cacheprovider $(or $(T),tests)

sanitize:                       ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer; SANITIZER=thread
	@BAKRYPT_LOGIN_SANITIZED=1 $(MAKE) --no-print-directory test BUILD=$(BUILD)/sanitize/$(SANITIZER) \
	    CFLAGS='-O1 -g $(SANITIZE)' FORTIFY=

bench:                          ## what a login costs, beside what one would run instead; QUICK=1 PART= RECORD=1
	@tests/packages.sh $(BENCH_PACKAGES)
	@$(MAKE) --no-print-directory all
	@cd tests && BAKRYPT_LOGIN_BUILD=$(BUILD) exec $(PYTHON) -B -m bench $(PART) $(if $(QUICK),--quick) $(if $(RECORD),--record)

bench-cgi:                      ## what one login by CGI costs, from exec, beside an ordinary program; ROUNDS=300
	@tests/packages.sh $(BENCH_PACKAGES) $(HOSTING_PACKAGES) ca-certificates
	@$(MAKE) --no-print-directory all shared-hosting
	@cd tests && BAKRYPT_LOGIN_BUILD=$(BUILD) exec $(PYTHON) -B -m bench.cgi $(if $(ROUNDS),--rounds $(ROUNDS))

# In folders of their own: with libFuzzer and sanitizers, and to measure what the inputs reach.
fuzz:                           ## libFuzzer on each target for TIME=60 seconds; FUZZ="json form", MERGE=1 keeps finds
	@tests/packages.sh $(FUZZ_PACKAGES)
	@$(MAKE) --no-print-directory fuzzers BUILD=$(BUILD)/fuzz CC=clang FORTIFY= FUZZ_MAIN=-fsanitize=fuzzer \
	    CFLAGS='-O1 -g $(SANITIZE) -fsanitize=fuzzer-no-link -D__SANITIZE_ADDRESS__'
	@$(MAKE) --no-print-directory fuzzers BUILD=$(BUILD)/coverage CC=clang FORTIFY= \
	    CFLAGS='-O1 -g -fprofile-instr-generate -fcoverage-mapping'
	@$(MAKE) --no-print-directory $(BUILD)/tests/reading
	@cd tests && BAKRYPT_LOGIN_BUILD=$(BUILD) exec $(PYTHON) -B -m fuzz --seconds $(or $(TIME),60) $(if $(MERGE),--merge) $(FUZZ)

soak:                           ## thousands log in while much goes wrong: each gets one answer; SECONDS=300 SCENE=
	@tests/packages.sh $(TEST_PACKAGES)
	@$(MAKE) --no-print-directory all units
	@cd tests && BAKRYPT_LOGIN_BUILD=$(BUILD) exec $(PYTHON) -B -m soak $(SCENE) $(if $(SECONDS),--seconds $(SECONDS))

lint:                           ## clang-format, clang-tidy and cppcheck: no findings
	@tests/packages.sh $(LINT_PACKAGES)
	@$(MAKE) --no-print-directory $(BUILD)/sandbox_filter.h
	clang-format --dry-run --Werror src/*.[ch] tests/unit/*.c tests/fuzz/*.[ch] tests/bench/*/*.[ch] tests/servers/*.c
	clang-tidy --quiet --warnings-as-errors='*' src/*.c tests/unit/*.c tests/fuzz/*.c tests/bench/*/*.c tests/servers/*.c -- $(filter-out $(FORTIFY),$(ALL_CFLAGS)) -Isrc
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,style,performance,portability \
	    --inline-suppr --suppress=missingIncludeSystem --suppress=variableScope -D_GNU_SOURCE -DVERSION='""' -Isrc src

INSTALLED = $(BINDIR)/bakrypt-login $(MANDIR)/man8/bakrypt-login.8 \
            $(UNITDIR)/bakrypt-login.service $(UNITDIR)/bakrypt-login.socket \
            $(SYSUSERSDIR)/bakrypt-login.conf $(DATADIR)/bakrypt-login/openapi.json \
            $(patsubst deploy/%,$(DATADIR)/bakrypt-login/%,$(PAGE))
PAGE      = $(sort $(wildcard deploy/page/*))
PAGE_CONF = $(BUILD)/bakrypt-login-page.conf

# What people edit: there once, it is left alone, and removed only as it was installed.
define each_config
	@$(1) 0640 deploy/bakrypt-login.conf '$(DESTDIR)$(SYSCONFDIR)/bakrypt-login/bakrypt-login.conf'
	@$(1) 0644 nginx/bakrypt-login.conf '$(DESTDIR)$(NGINXDIR)/bakrypt-login.conf'
	@sed -e 's|/usr/share|$(DATADIR)|' nginx/bakrypt-login-page.conf > $(PAGE_CONF)
	@$(1) 0644 $(PAGE_CONF) '$(DESTDIR)$(NGINXDIR)/bakrypt-login-page.conf'
	@$(1) 0644 deploy/apache/bakrypt-login.conf '$(DESTDIR)$(APACHEDIR)/bakrypt-login.conf'
endef
put  = put() { if [ ! -e "$$3" ]; then install -D -m "$$1" "$$2" "$$3"; \
       else cmp -s "$$2" "$$3" || echo "Left as it is: $$3"; fi; }; put
take = take() { [ ! -e "$$3" ] || if cmp -s "$$2" "$$3"; then rm -f "$$3"; \
       else echo "Left, since it was changed: $$3"; fi; }; take

install: all                    ## install below PREFIX (/usr/local) and SYSCONFDIR (/etc); DESTDIR=
	install -D $(PROGRAM) '$(DESTDIR)$(BINDIR)/bakrypt-login'
	install -D -m 0644 deploy/bakrypt-login.8 '$(DESTDIR)$(MANDIR)/man8/bakrypt-login.8'
	install -D -m 0644 -t '$(DESTDIR)$(UNITDIR)' deploy/systemd/bakrypt-login.socket \
	    deploy/systemd/bakrypt-login.service
	sed -i -e 's|/usr/bin/bakrypt|$(BINDIR)/bakrypt|g; s|/etc/bakrypt|$(SYSCONFDIR)/bakrypt|g' \
	    '$(DESTDIR)$(UNITDIR)/bakrypt-login.service'
	install -D -m 0644 deploy/systemd/bakrypt-login.sysusers '$(DESTDIR)$(SYSUSERSDIR)/bakrypt-login.conf'
	install -D -m 0644 -t '$(DESTDIR)$(DATADIR)/bakrypt-login' deploy/openapi.json
	install -D -m 0644 -t '$(DESTDIR)$(DATADIR)/bakrypt-login/page' $(PAGE)
	$(call each_config,$(put))

uninstall:                      ## remove what `make install` with the same variables installed
	rm -f $(INSTALLED:%='$(DESTDIR)%')
	$(call each_config,$(take))
	@for folder in '$(SYSCONFDIR)/bakrypt-login' '$(DATADIR)/bakrypt-login/page' '$(DATADIR)/bakrypt-login'; do \
	    [ ! -d "$(DESTDIR)$$folder" ] || rmdir --ignore-fail-on-non-empty "$(DESTDIR)$$folder"; \
	done

# The environment stays outside: variables of this make would reach the inner one.
deb: STAGE = $(BUILD)/bakrypt-login-$(VERSION)
deb:                            ## build/bakrypt-login_VERSION_ARCH.deb
	@tests/packages.sh $(DEB_PACKAGES)
	rm -rf $(STAGE) && mkdir -p $(STAGE)
	cp -a Makefile README.md src nginx deploy $(STAGE)
	cp -a deploy/debian $(STAGE)
	cd $(STAGE) && env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEB_BUILD_OPTIONS="$$DEB_BUILD_OPTIONS" \
	    dpkg-buildpackage -us -uc -b

shared-hosting:                 ## pack what one uploads to a host with nothing but FTP
	@tests/packages.sh $(HOSTING_PACKAGES)
	@mkdir -p $(BUILD)
	@deploy/shared-hosting/build.sh $(BUILD)/shared-hosting $(BUILD)/bakrypt-login-shared-hosting.zip

units: $(UNITS) fuzzers $(BUILD)/tests/reading $(BUILD)/tests/refusal.so
	@:

fuzzers: $(FUZZERS)
	@:

clean:                          ## remove the build folder
	rm -rf $(BUILD)

help:                           ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

$(PROGRAM): $(OBJECTS)
	$(call quiet,LINK)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/%.o: src/%.c Makefile | $(BUILD)/libraries
	$(call quiet,CC)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/%: tests/unit/%.c $(ROOMS) Makefile
	@mkdir -p $(@D)
	$(call quiet,TEST)$(CC) $(ALL_CFLAGS) -Isrc -MMD -MP -MF $@.d $(ALL_LDFLAGS) -o $@ $< $(ROOMS) \
	    $(LDLIBS) -lcmocka

# For the machine that it is built on, whatever the flags of the program are.
$(BUILD)/sandbox_filter: $(FILTER) src/sandbox_pid.h Makefile | $(BUILD)/libraries
	$(call quiet,CC)$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -o $@ $< $(shell $(PKGCONFIG) --cflags --libs libseccomp)

$(BUILD)/sandbox_filter.h: $(BUILD)/sandbox_filter
	$(call quiet,MAKE)$< >$@

$(BUILD)/sandbox.o: $(BUILD)/sandbox_filter.h

# From an archive: a target that brings a part of its own has it in the place of ours. FUZZ_MAIN is
# who calls the target: replay.c with the files of its corpus, or libFuzzer.
FUZZ_MAIN ?= tests/fuzz/replay.c
$(BUILD)/tests/fuzz_gateway: WRAP := -Wl,--wrap=write,--wrap=poll
$(FUZZERS): $(BUILD)/tests/%: tests/fuzz/%.c tests/fuzz/fuzz.c tests/fuzz/replay.c tests/fuzz/fuzz.h \
    $(BUILD)/rooms.a Makefile
	@mkdir -p $(@D)
	$(call quiet,FUZZ)$(CC) $(ALL_CFLAGS) -Isrc $(ALL_LDFLAGS) $(WRAP) -o $@ $< tests/fuzz/fuzz.c $(FUZZ_MAIN) \
	    $(BUILD)/rooms.a $(LDLIBS)

$(BUILD)/tests/reading: tests/fuzz/reading.c $(BUILD)/rooms.a Makefile
	@mkdir -p $(@D)
	$(call quiet,TEST)$(CC) $(ALL_CFLAGS) -Isrc $(ALL_LDFLAGS) -o $@ $< $(BUILD)/rooms.a $(LDLIBS)

$(BUILD)/rooms.a: $(ROOMS)
	@rm -f $@
	$(call quiet,AR)$(AR) rcs $@ $^

# Preloaded into the program by tests that refuse it memory.
$(BUILD)/tests/refusal.so: tests/servers/refusal.c Makefile
	@mkdir -p $(@D)
	$(call quiet,TEST)$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -O2 -g -shared -fPIC -o $@ $<

# A sentence instead of a hundred lines about missing headers.
$(BUILD)/libraries:
	@mkdir -p $(@D)
	@$(PKGCONFIG) --exists $(LIBRARIES) libseccomp 2>/dev/null || { \
	    echo 'Missing libraries. On Debian: apt-get install $(BUILD_PACKAGES)' >&2; exit 1; }
	@touch $@

-include $(OBJECTS:.o=.d) $(UNITS:=.d)

.PHONY: all run test sanitize fuzz fuzzers bench bench-cgi soak lint install uninstall deb shared-hosting units clean help
.DELETE_ON_ERROR:

// Spoils its own surroundings and becomes another program. Usage: spoiled STEP... -- PROGRAM ARG...
//
//   refuse=CALL         a seccomp filter answers that system call with EPERM
//   refuse=seal         the same for fcntl(F_ADD_SEALS)
//   uname26, legacy     personalities: the kernel's name is 2.6, libraries lie low
//   nofile=N, as=N, fsize=N, memlock=N, nproc=N    a limit
//   mount=TYPE:PATH:OPTIONS   in a mount namespace of its own; "ro" among the options: read-only
//   keep=DIRECTORY      a mount of its own, for the next step
//   read-only-root      all that is not a mount of its own can only be read
//   own-pids            pid 1 of a PID namespace of its own, with its /proc
//   own-ipc             an IPC namespace of its own
//   over=FILE:PATH      FILE is seen at PATH, in a mount namespace of its own
//   cgroup=DIRECTORY    moves into that control group
//   uid=N               becomes that user
//   map=MODULE:FROM:BYTES     a module loaded at the start maps that range
//
// PROGRAM is looked for as tests do. Exit code 77: a step was not possible, standard error says
// which.

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

void require(bool done, const std::string& step)
{
    if (done)
        return;
    std::cerr << step << ": " << std::strerror(errno) << std::endl;
    std::exit(77);
}

void refuse(std::uint32_t call, bool with_command, std::uint32_t command)
{
    const auto offset = [](std::size_t at) { return static_cast<std::uint32_t>(at); };
    const int past = with_command ? 3 : 1;
    std::vector<sock_filter> filter{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset(offsetof(seccomp_data, nr))),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, static_cast<unsigned char>(past))};
    if (with_command) {
        filter.push_back(
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset(offsetof(seccomp_data, args[1]))));
        filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, command, 0, 1));
    }
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    const sock_fprog program{.len = static_cast<unsigned short>(filter.size()),
                             .filter = filter.data()};
    require(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
    require(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp");
}

void refuse(const std::string& name)
{
    static const std::map<std::string, long> calls{
        {"memfd_create", SYS_memfd_create},      {"fallocate", SYS_fallocate},
        {"pidfd_open", SYS_pidfd_open},          {"eventfd2", SYS_eventfd2},
        {"membarrier", SYS_membarrier},          {"get_mempolicy", SYS_get_mempolicy},
        {"set_robust_list", SYS_set_robust_list}};
    const bool seal = name == "seal";
    refuse(static_cast<std::uint32_t>(seal ? SYS_fcntl : calls.at(name)), seal, F_ADD_SEALS);
}

void limit(__rlimit_resource kind, const std::string& value)
{
    const rlimit wanted{.rlim_cur = std::stoul(value), .rlim_max = std::stoul(value)};
    require(::setrlimit(kind, &wanted) == 0, "setrlimit");
}

void own_mounts()
{
    static bool done = false;
    if (done)
        return;
    require(::unshare(CLONE_NEWNS) == 0, "unshare");
    require(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "private mounts");
    done = true;
}

std::vector<std::string> parts(const std::string& text)
{
    std::vector<std::string> found;
    std::istringstream in{text};
    for (std::string part; std::getline(in, part, ':');)
        found.push_back(part);
    return found;
}

void mount_new(const std::string& text)
{
    own_mounts();
    auto words = parts(text);
    words.resize(3);
    const bool read_only = words[2] == "ro";
    require(::mount("none", words[1].c_str(), words[0].c_str(),
                    read_only ? static_cast<unsigned long>(MS_RDONLY) : 0ul,
                    read_only ? nullptr : words[2].c_str()) == 0,
            "mount " + words[0] + " at " + words[1]);
}

void mount_over(const std::string& text)
{
    own_mounts();
    const auto words = parts(text);
    require(::mount(words.at(0).c_str(), words.at(1).c_str(), nullptr, MS_BIND, nullptr) == 0,
            "bind over " + words.at(1));
}

void keep_writable(const std::string& directory)
{
    own_mounts();
    require(::mount(directory.c_str(), directory.c_str(), nullptr, MS_BIND, nullptr) == 0,
            "bind " + directory);
}

void make_root_read_only()
{
    own_mounts();
    require(::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0,
            "read-only root");
}

/// The rest runs in a child, which ends when this process does; this process ends as the child.
void own_pids()
{
    own_mounts();
    require(::unshare(CLONE_NEWPID) == 0, "unshare pids");
    const auto child = ::fork();
    require(child >= 0, "fork");
    if (child == 0) {
        require(::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "pdeathsig");
        require(::mount("proc", "/proc", "proc", 0, nullptr) == 0, "mount /proc");
        return;
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    std::_Exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

void preload(const std::string& text)
{
    const auto words = parts(text);
    const auto own = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    ::setenv("LD_PRELOAD", (own / words.at(0)).c_str(), 1);
    ::setenv("COHORT_TEST_MAP", (words.at(1) + ":" + words.at(2)).c_str(), 1);
}

void take(const std::string& step)
{
    static const std::map<std::string, __rlimit_resource> limits{{"nofile", RLIMIT_NOFILE},
                                                                 {"as", RLIMIT_AS},
                                                                 {"fsize", RLIMIT_FSIZE},
                                                                 {"nproc", RLIMIT_NPROC},
                                                                 {"memlock", RLIMIT_MEMLOCK}};
    const auto equals = step.find('=');
    const auto verb = step.substr(0, equals);
    const auto value = equals == std::string::npos ? std::string{} : step.substr(equals + 1);
    if (const auto kind = limits.find(verb); kind != limits.end())
        limit(kind->second, value);
    else if (verb == "refuse")
        refuse(value);
    else if (verb == "uname26")
        require(::personality(UNAME26) >= 0, step);
    else if (verb == "legacy")
        require(::personality(ADDR_COMPAT_LAYOUT) >= 0, step);
    else if (verb == "mount")
        mount_new(value);
    else if (verb == "keep")
        keep_writable(value);
    else if (verb == "read-only-root")
        make_root_read_only();
    else if (verb == "own-pids")
        own_pids();
    else if (verb == "own-ipc")
        require(::unshare(CLONE_NEWIPC) == 0, step);
    else if (verb == "over")
        mount_over(value);
    else if (verb == "cgroup")
        require((std::ofstream{value + "/cgroup.procs"} << ::getpid() << std::flush).good(), step);
    else if (verb == "uid")
        require(::setresuid(static_cast<uid_t>(std::stoul(value)),
                            static_cast<uid_t>(std::stoul(value)),
                            static_cast<uid_t>(std::stoul(value))) == 0,
                step);
    else if (verb == "map")
        preload(value);
    else
        require(false, "unknown step " + step);
}

}  // namespace

int main(int argc, char** argv)
{
    const auto own = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    int next = 1;
    std::vector<std::string> steps;
    for (; next < argc && std::strcmp(argv[next], "--") != 0; ++next)
        steps.emplace_back(argv[next]);
    if (next + 1 >= argc)
        return 2;
    std::string program;
    for (const auto* room : {".", "../primary", "../secondary"})
        if (const auto file = own / room / argv[next + 1]; std::filesystem::exists(file))
            program = std::filesystem::canonical(file);
    for (const auto& step : steps)
        take(step);
    ::execv(program.c_str(), argv + next + 1);
    require(false, "exec " + program);
}

/* Eclipse Paho's asynchronous client in C, as publisher or subscriber: see src/main.rs. */
#include <MQTTAsync.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

enum { PAYLOAD = 16, IN_FLIGHT = 1000 };
static const char *topic = "comparison/paho";
static long messages;
static atomic_long done;
static sem_t answered, room;
static double processor, started;

static double processor_micros(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

static double seconds(void) {
    struct timeval now;
    gettimeofday(&now, NULL);
    return now.tv_sec + now.tv_usec * 1e-6;
}

static void start(void) {
    processor = processor_micros();
    started = seconds();
}

static void report(const char *role) {
    printf("%s %.3f us, %.0f/s\n", role, (processor_micros() - processor) / messages,
           messages / (seconds() - started));
    fflush(stdout);
}

static void on_success(void *context, MQTTAsync_successData *response) { sem_post(&answered); }

static void on_sent(void *context, MQTTAsync_successData *response) {
    atomic_fetch_add(&done, 1);
    sem_post(&room);
}

static void on_failure(void *context, MQTTAsync_failureData *response) {
    fprintf(stderr, "paho: failed\n");
    exit(1);
}

static int on_arrived(void *context, char *name, int length, MQTTAsync_message *message) {
    long count = atomic_fetch_add(&done, 1) + 1;
    if (count == 1)
        start();
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(name);
    if (count == messages) {
        report("sub");
        _exit(0);
    }
    return 1;
}

static void publish(MQTTAsync client, int qos) {
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    options.onSuccess = on_sent;
    options.onFailure = on_failure;
    char payload[PAYLOAD];
    memset(payload, 'x', sizeof payload);
    start();
    for (long i = 0; i < messages; i++) {
        sem_wait(&room);
        while (MQTTAsync_send(client, topic, PAYLOAD, payload, qos, 0, &options) != 0)
            usleep(100);
    }
    while (atomic_load(&done) < messages)
        usleep(1000);
    report("pub");
}

static void subscribe(MQTTAsync client, int qos) {
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    options.onSuccess = on_success;
    options.onFailure = on_failure;
    MQTTAsync_subscribe(client, topic, qos, &options);
    sem_wait(&answered);
    printf("ready\n");
    fflush(stdout);
    for (;;)
        sleep(1);
}

int main(int count, char **words) {
    if (count != 5) {
        fprintf(stderr, "usage: paho pub|sub PORT QOS MESSAGES\n");
        return 2;
    }
    char url[64], name[32];
    int qos = atoi(words[3]);
    messages = atol(words[4]);
    snprintf(url, sizeof url, "tcp://127.0.0.1:%s", words[2]);
    snprintf(name, sizeof name, "paho-%d", (int)getpid());
    sem_init(&answered, 0, 0);
    sem_init(&room, 0, IN_FLIGHT);
    MQTTAsync client;
    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer;
    create.maxBufferedMessages = 2 * IN_FLIGHT;
    MQTTAsync_createWithOptions(&client, url, name, MQTTCLIENT_PERSISTENCE_NONE, NULL, &create);
    MQTTAsync_setCallbacks(client, NULL, NULL, on_arrived, NULL);
    MQTTAsync_connectOptions connect = MQTTAsync_connectOptions_initializer;
    connect.maxInflight = IN_FLIGHT;
    connect.onSuccess = on_success;
    connect.onFailure = on_failure;
    MQTTAsync_connect(client, &connect);
    sem_wait(&answered);
    if (strcmp(words[1], "pub") == 0)
        publish(client, qos);
    else
        subscribe(client, qos);
    return 0;
}
